"""Shared fixtures: a small audio corpus, empty ledger databases, bundles of untrained networks."""

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from chorale.datasets import features, plugins
from chorale.datasets.config import read_config, to_plain_values
from chorale.lightning_models import architectures
from chorale.lightning_models.train_config import TrainConfig
from chorale.lightning_models.training import checkpoint
from chorale.lightning_models.training.module import GenreClassifier
from chorale.search.baselines.classifiers import GRIDS
from chorale.search.bundle.bundle import BundledNetwork
from chorale.search.bundle.writing import copy_file, write_bundle, write_manifest
from chorale.search.combining import fitted_file
from chorale.search.combining.base import EnsembleModel
from chorale.search.paths import BundlePaths
from tests.search.chords import chord_study, chords
from tests.search.crash.read_once import read_once
from tests.search.encoders import add_musicnn

__all__ = ["chord_study", "chords"]

SAMPLE_RATE = 8000


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three labels x 5 groups x 4 tracks of 0.6 s: tones whose pitch depends on the label.

    The noise level depends on the group, so groups matter.
    """
    root = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    time_s = np.arange(int(0.6 * SAMPLE_RATE)) / SAMPLE_RATE
    for pitch, label in enumerate(("low", "mid", "high")):
        (root / label).mkdir()
        for group in range(5):
            hiss = rng.uniform(0.02, 0.1)
            for take in range(4):
                tone_hz = 300 * 2**pitch * rng.uniform(0.9, 1.1)
                wave = 0.3 * np.sin(2 * np.pi * tone_hz * time_s)
                wave += hiss * rng.standard_normal(len(time_s))
                name = f"{label}-artist{group}-{take}.wav"
                soundfile.write(root / label / name, wave.astype(np.float32), SAMPLE_RATE)
    return root


@pytest.fixture(scope="session", autouse=True)
def _read_once() -> Iterator[None]:
    """Of all tests of a process."""
    with pytest.MonkeyPatch.context() as patch:
        read_once(patch)
        yield


QUICK_GRIDS: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "logistic_regression": {"statistics": ("mean_std",), "C": (0.1, 1.0)},
    "svm": {"statistics": ("mean_std",), "gamma_times_columns": (0.3,), "C": (1.0, 10.0)},
}


def _leave_two_baselines(patch: pytest.MonkeyPatch) -> None:
    for name in GRIDS.keys() - QUICK_GRIDS:
        patch.delitem(GRIDS, name)
    for name, grid in QUICK_GRIDS.items():
        patch.setitem(GRIDS, name, grid)


@pytest.fixture(autouse=True)
def _two_baselines(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps in this process fit two quick baselines, unless the test wants `all_baselines`."""
    if "all_baselines" not in request.fixturenames:
        _leave_two_baselines(monkeypatch)


@pytest.fixture(scope="module")
def two_baselines() -> Iterator[None]:
    """The same for sweeps of a module's fixtures, which begin before `_two_baselines`."""
    with pytest.MonkeyPatch.context() as patch:
        _leave_two_baselines(patch)
        yield


@pytest.fixture
def all_baselines() -> None:
    """Keeps all baselines; see `_two_baselines`."""


@pytest.fixture
def tiny(corpus: Path, tmp_path: Path) -> list[str]:
    """Arguments of a sweep over `corpus` that takes seconds, without `--cluster.address`."""
    sweep = tmp_path / "tiny.yaml"
    sweep.write_text(
        f"""
dataset: {{name: folder, root: {corpus}, group: '(artist.)'}}
features:
  mel: {{sample_rate: 8000, n_fft: 256, hop_length: 128, n_mels: 24}}
  mfcc: {{sample_rate: 8000, n_fft: 256, hop_length: 128, n_mels: 24, n_mfcc: 12}}
architectures: [cnn, recurrent]
space:
  cnn: {{n_layers: 2, width: {{choice: [16]}}, pooling: mean_max, dropout: 0.1}}
  train: {{optimizer: adamw, lr: 0.003, n_masks: 0, mixup_alpha: 0.0, center: false}}
train: {{crop_s: 0.4, batch_size: 16}}
budget: {{trials: 4, max_epochs: 4}}
finalists: {{configs: 2, folds: 2}}
runs: {tmp_path / "runs"}
"""
    )
    return [str(sweep)]


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The socket folder of a PostgreSQL server started for the tests; skips without PostgreSQL."""
    pytest.importorskip("psycopg", reason="psycopg is not installed (pip install '.[postgres]')")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")) + [
        Path(path) for path in [shutil.which("pg_ctl")] if path
    ]
    if not found:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    binaries = found[-1].resolve().parent
    # PostgreSQL refuses to run as root, and cannot enter the folders that pytest makes for root
    user = "nobody" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    if user:
        shutil.chown(folder, user)

    def run(*words: str) -> None:
        done = subprocess.run(
            words, user=user, cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            log = folder / "log"
            raise RuntimeError(done.stderr + (log.read_text() if log.exists() else ""))

    data = str(folder / "data")
    run(str(binaries / "initdb"), "-D", data, "-U", "chorale", "-A", "trust", "-E", "UTF8", "-N")
    control = (str(binaries / "pg_ctl"), "-D", data, "-w", "-l", str(folder / "log"))
    options = f"-k {folder} -c listen_addresses='' -c fsync=off -c max_connections=50"
    run(*control, "-o", options, "start")
    try:
        yield str(folder)
    finally:
        run(*control, "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.fixture
def postgres_url(postgres: str) -> str:
    """An empty database on that server."""
    import psycopg

    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(f"host={postgres} user=chorale dbname=postgres", autocommit=True) as c:
        c.execute(f'create database "{name}"')
    return f"postgresql+psycopg://chorale@/{name}?host={postgres}"


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of each kind that a ledger supports."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path / 'runs' / 'chorale.db'}"


LABELS = ("blues", "jazz", "metal")
RATE = 8_000
SMALL: Mapping[str, Mapping[str, Any]] = {
    "mel": {"sample_rate": RATE, "n_fft": 256, "hop_length": 128, "n_mels": 40},
    "mfcc": {"sample_rate": RATE, "n_fft": 256, "hop_length": 128, "n_mels": 40, "n_mfcc": 20},
    "mfcc_statistics": {"sample_rate": RATE, "n_fft": 256, "hop_length": 128, "n_mels": 40},
    "stft": {"sample_rate": RATE, "n_fft": 128, "hop_length": 64},
    "spectrogram_image": {
        "sample_rate": RATE,
        "n_fft": 256,
        "hop_length": 128,
        "n_mels": 40,
        "height": 64,
        "width": 96,
        "duration_s": 2.0,
    },
    "stats57": {},
    "stats518": {},
}
"""Configs of feature sets that are computed quickly."""

Member = tuple[str, str, Mapping[str, Any], Mapping[str, Any]]
"""Architecture, feature set, architecture config, training config."""

MakeBundle = Callable[..., Path]


class Encoder(torch.nn.Module):
    """`(1, n_samples)` -> `(1, n_samples // 320, 24)`."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(320, 24)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n_frames = x.shape[1] // 320
        return torch.tanh(self.layer(x[:, : n_frames * 320].reshape(1, n_frames, 320)))


@pytest.fixture(scope="session")
def encoder_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small frozen encoder, as TorchScript."""
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("encoder") / "encoder.pt"
    torch.jit.save(torch.jit.script(Encoder()), file)
    return file


@pytest.fixture(scope="session")
def musicnn_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of musicnn with random weights."""
    return add_musicnn(tmp_path_factory.mktemp("musicnn"))


@pytest.fixture(scope="session")
def make_bundle(encoder_file: Path, musicnn_file: Path) -> MakeBundle:
    """Writes a bundle of `members`, each with `n_spaces` untrained networks.

    With `thresholds` of the `LABELS`, a bundle whose recordings have several.
    """

    def make(
        folder: Path,
        members: Sequence[Member],
        *,
        n_spaces: int = 1,
        kind: str = "soft_vote",
        model: EnsembleModel | None = None,
        temperature: float = 1.0,
        thresholds: Mapping[str, float] | None = None,
    ) -> Path:
        task = {} if thresholds is None else {"task": "multi_label", "thresholds": dict(thresholds)}

        def fill(paths: BundlePaths) -> None:
            networks, configs = [], {}
            for at, (name, feature, values, training) in enumerate(members):
                if feature not in configs:
                    configs[feature] = _features_config(feature, paths, encoder_file, musicnn_file)
                for space in range(n_spaces):
                    module = _untrained(
                        name, feature, values, training, configs[feature], 10 * at + space, paths,
                        multi_label=thresholds is not None,
                    )  # fmt: skip
                    place = paths.networks / f"{at}-{space}"
                    checkpoint.save_checkpoint(place, module, {"labels": list(LABELS)})
                    networks.append(BundledNetwork(f"networks/{place.name}", at, space, feature))
            names = tuple(f"{i}" for i in range(len(members)))
            fitted = model or EnsembleModel(np.full(len(members), 1 / len(members)))
            fitted_file.write_ensemble(paths.ensemble, fitted, kind=kind, members=names)
            write_manifest(
                paths,
                {
                    "study": "none",
                    "labels": list(LABELS),
                    "kind": kind,
                    "members": list(names),
                    "architectures": [name for name, *_ in members],
                    "networks": [asdict(one) for one in networks],
                    "features": configs,
                    "temperature": temperature,
                    "coverage": 0.9,
                    "least_proba": 0.2,
                    "most_disagreement": 0.1,
                    "about": {},
                    **task,
                },
            )

        write_bundle(folder, fill)
        return folder

    return make


def _features_config(
    name: str, paths: BundlePaths, encoder_file: Path, musicnn_file: Path
) -> dict[str, Any]:
    given: dict[str, dict[str, Any]] = {
        "encoder": {"sample_rate": RATE, "chunk_s": 1.0, "path": str(encoder_file)},
        "block_input": {"name": "musicnn", "path": str(musicnn_file)},
    }
    if name not in given:
        return dict(SMALL[name])
    file = Path(given[name]["path"])
    copy_file(file, paths.encoders / file.name)
    plugin = plugins.load_plugin(features, name, kind="feature set")
    config = to_plain_values(read_config(plugin.Config, given[name], where="test"))
    return {**config, "path": f"encoders/{file.name}"}


def _untrained(
    name: str,
    feature: str,
    values: Mapping[str, Any],
    training: Mapping[str, Any],
    features_config: Mapping[str, Any],
    seed: int,
    paths: BundlePaths,
    *,
    multi_label: bool,
) -> GenreClassifier:
    extractor = plugins.load_plugin(features, feature, kind="feature set")
    given = dict(features_config)
    if given.get("path"):
        given["path"] = str(paths.root / given["path"])
    config = read_config(extractor.Config, given, where="test")
    of_features = getattr(config, "network_values", {})
    plugin = plugins.load_plugin(architectures, name, kind="architecture")
    train_config = TrainConfig(**{"crop_s": 1.0, **training})
    n_channels = getattr(config, "n_channels", 1)
    n_frames = round(train_config.crop_s * config.frame_rate_hz) or 1
    if extractor.LAYOUT == "table":  # the imports that its extraction needs take seconds
        mean, std = np.zeros(config.n_bins), np.ones(config.n_bins)
    else:
        wave = 0.1 * np.random.default_rng(0).standard_normal(3 * config.sample_rate)
        frames = np.asarray(extractor.extract(wave.astype(np.float32), config)).reshape(
            config.n_bins, -1
        )
        mean, std = frames.mean(axis=1), np.maximum(frames.std(axis=1), 1.0)
    torch.manual_seed(seed)
    module = GenreClassifier(
        architecture=name,
        config=read_config(plugin.Config, {**of_features, **values}, where="test"),
        train_config=train_config,
        input_shape=(n_channels, config.n_bins // n_channels, n_frames),
        n_classes=len(LABELS),
        statistics=(torch.tensor(mean.astype(np.float32)), torch.tensor(std.astype(np.float32))),
        multi_label=multi_label,
    )
    _warm_up_batch_norm(module)
    return module.eval()


def _warm_up_batch_norm(module: GenreClassifier) -> None:
    """Gives batch norms running statistics, so that predictions differ between inputs."""
    n_channels, n_bins, n_frames = module.input_shape
    x = torch.randn(8, n_channels, n_bins, n_frames) * module.std + module.mean
    for layer in module.modules():
        if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
            layer.momentum = 1.0
    with torch.no_grad():
        module.train()(x)
