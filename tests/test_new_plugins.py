"""Adding a plug-in takes one new file: one of each kind, from a folder outside, runs in a sweep."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chorale.datasets import catalog, features, plugins
from chorale.datasets.plugin_folders import VARIABLE
from chorale.lightning_models import architectures
from chorale.search import ensembles
from chorale.search.baselines import baseline_plan, classifiers
from chorale.search.cli import main

DATASET = '''
"""Sine tones of three pitches: three labels, six groups, made in memory."""
import numpy as np
import soundfile
from pathlib import Path
from chorale.datasets.base import DatasetInfo, track_table
from chorale.datasets.config import config

INFO = DatasetInfo(name="toy_tones", title="Toy tones", licence="CC0", citation="none",
    homepage="https://example.org", labels=("low", "mid", "high"), n_tracks=108, size="1 MB")

@config
class Config:
    root: str

def tracks(config):
    root = Path(config.root)
    root.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    rows = []
    for pitch, label in enumerate(INFO.labels):
        for take in range(36):
            path = root / f"{label}-{take}.wav"
            hz = 250 * 2**pitch * rng.uniform(0.9, 1.1)
            wave = 0.3 * np.sin(2 * np.pi * hz * np.arange(4000) / 8000)
            soundfile.write(path, wave + 0.01 * rng.standard_normal(4000), 8000)
            rows.append({"track_id": path.stem, "path": str(path), "label": label,
                         "group": f"g{take % 6}"})
    return track_table(rows)
'''

FEATURE_SET = '''
"""Energy in eight bands."""
import numpy as np
from chorale.datasets.base import Layout
from chorale.datasets.config import config as config_class

VERSION = 1
LAYOUT: Layout = "table"
SPECTRAL = False
NO_NETWORK = "it is a toy"

@config_class
class Config:
    sample_rate: int = 8000

    @property
    def n_bins(self) -> int:
        return 8

    @property
    def frame_rate_hz(self) -> float:
        return 0.0

def extract(waveform, config):
    power = np.abs(np.fft.rfft(waveform)) ** 2
    return np.log([part.sum() + 1e-6 for part in np.array_split(power[:800], 8)]).astype(np.float32)
'''

ARCHITECTURE = '''
"""One linear layer behind dropout. Source: none, a toy."""
from torch import nn
from chorale.datasets.base import Layout
from chorale.datasets.config import config
from chorale.lightning_models import presets
from chorale.lightning_models.distributions import FloatDistribution
from chorale.lightning_models.layers import EmbeddingNetwork, n_values

LAYOUTS: tuple[Layout, ...] = ("table",)

@config
class Config:
    dropout: float = 0.0

SPACE = {"dropout": FloatDistribution(0.0, 0.5)}
DEFAULTS = ({"dropout": 0.1, **presets.LITTLE_DATA_TABLE, "train.lr": 0.01},)

class Toy(EmbeddingNetwork):
    def __init__(self, config, n_columns, n_classes):
        super().__init__()
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(n_columns, n_classes)

    def embed(self, x):
        return self.dropout(x.flatten(1))

def build(config, input_shape, n_classes):
    return Toy(config, n_values(input_shape), n_classes)
'''

ENSEMBLE = '''
"""The median of the members' probabilities. Source: Kittler et al. 1998, doi:10.1109/34.667881."""
import numpy as np
from chorale.search.combining.base import EnsembleModel, members_mismatch
from chorale.search.statistics.arrays import check_proba, check_rows

def fit(predictions, labels, groups, seed):
    check_rows(predictions.proba, labels, groups, n_dims=3)
    return EnsembleModel(np.full(len(predictions.proba), 1 / len(predictions.proba)))

def predict(model, predictions):
    check_proba(predictions.proba, n_dims=3)
    if len(model.weights) != len(predictions.proba):
        raise members_mismatch(len(model.weights), predictions)
    median = np.median(predictions.proba.astype(np.float64), axis=0)
    return median / median.sum(axis=1, keepdims=True)
'''

FILES = (
    (catalog, "datasets", "toy_tones", DATASET),
    (features, "features", "band_energy", FEATURE_SET),
    (architectures, "architectures", "toy_linear", ARCHITECTURE),
    (ensembles, "ensembles", "median_vote", ENSEMBLE),
)


@pytest.fixture(autouse=True)
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A plug-in folder outside of this repository, with a plug-in of each kind."""
    monkeypatch.setenv(VARIABLE, "")
    for package, kind, name, code in FILES:
        folder = tmp_path / "mine" / kind
        folder.mkdir(parents=True)
        (folder / f"{name}.py").write_text(code)
        monkeypatch.setattr(package, "__path__", list(package.__path__))
    yield str(tmp_path / "mine")
    for package, _, name, _ in FILES:
        sys.modules.pop(f"{package.__name__}.{name}", None)


def test_one_new_file_of_each_kind_runs_in_a_sweep_and_predicts(
    outside: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (classifiers, baseline_plan):  # one baseline: the test is not about them
        monkeypatch.setattr(module, "GRIDS", {"knn": {"statistics": ("mean_std",), "k": (3,)}})
    sweep = tmp_path / "toy.yaml"
    sweep.write_text(
        f"""
dataset: {{name: toy_tones, root: {tmp_path / "tones"}}}
features: {{band_energy: {{}}}}
budget: {{trials: 2, max_epochs: 30}}
finalists: {{configs: 2, folds: 2}}
architectures: [toy_linear]
space: {{train: {{lr: 0.003, optimizer: adam, batch_size: 16}}}}
ensemble: {{kinds: [soft_vote], kind: median_vote, baselines: none}}
cluster: {{address: none}}
audit: {{fingerprint: false}}
runs: {tmp_path / "runs"}
"""
    )
    assert main(["sweep", str(sweep)]) == 1
    assert "unknown dataset 'toy_tones'" in capsys.readouterr().err
    assert main(["sweep", str(sweep), "--plugins"]) == 2
    assert "--plugins needs a value: --plugins FOLDER|FILE|PACKAGE" in capsys.readouterr().err
    assert main(["sweep", "--plugins", outside, str(sweep)]) == 0, capsys.readouterr()
    assert all(name in plugins.plugin_names(package) for package, _, name, _ in FILES)
    report = json.loads((tmp_path / "runs" / "toy" / "report.json").read_text())
    assert report["ensemble"]["kind"] == "median_vote"
    assert report["ensemble"]["test"]["accuracy"] >= 0.7
    bundle = str(tmp_path / "bundle")
    assert main(["export", "toy", "--to", bundle, "--runs", str(tmp_path / "runs")]) == 0
    capsys.readouterr()
    assert main(["predict", str(tmp_path / "tones" / "low-0.wav"), "--bundle", bundle]) == 0
    assert "low" in capsys.readouterr().out
