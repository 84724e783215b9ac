"""Compatibility with Hugging Face's `datasets` and `transformers` in one process."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile

SCRIPT = """
import sys
from importlib import metadata
from pathlib import Path

import datasets, transformers

folder = Path(sys.argv[1])
theirs = datasets.load_dataset(str(folder / "table"), split="train")
assert theirs.num_rows == 24 and set(theirs["label"]) == {"high", "low"}, theirs
config = transformers.ASTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
                                intermediate_size=8, max_length=32, num_mel_bins=16)
assert transformers.ASTForAudioClassification(config).num_parameters() > 0

from chorale.search.champion.serve.factory import AppFactory
from chorale.search.champion.serve.limits import RequestLimits
from chorale.search.cli import main
from starlette.testclient import TestClient

args = ["--name", "neighbours", "--runs", str(folder / "runs"), *sys.argv[2:]]
assert main(["sweep", str(folder / "sweep.yaml"), *args]) == 0
bundle = folder / "bundle"
assert main(["export", "neighbours", "--runs", str(folder / "runs"), "--to", str(bundle)]) == 0
clip = next((folder / "music" / "low").rglob("*.wav"))
assert main(["predict", str(clip), "--bundle", str(bundle), "--json"]) == 0
with TestClient(AppFactory(bundle, RequestLimits())()) as client:
    answer = client.post("/predict", content=clip.read_bytes())
    assert answer.status_code == 200, answer.text
import chorale.datasets
assert Path(datasets.__file__).parent != Path(chorale.datasets.__file__).parent
files = [set(metadata.files(name) or ()) for name in ("datasets", "chorale-audio")]
assert not set.intersection(*files), "both distributions contain the same file"
print("all passed")
"""

SWEEP = """
dataset: {{name: folder, root: {root}, group: '([^/]+)/[^/]+$'}}
architectures: [cnn]
budget: {{trials: 2, max_epochs: 2}}
finalists: {{configs: 1, folds: 2}}
"""


@pytest.mark.heavy
@pytest.mark.skipif(
    find_spec("transformers") is None, reason="Hugging Face's packages are not installed"
)
@pytest.mark.parametrize("address", ["none", pytest.param("local", marks=pytest.mark.ray)])
def test_load_dataset_and_a_sweep_predict_and_serve_share_a_process(
    tmp_path: Path, address: str
) -> None:
    _write_corpus(tmp_path / "music")
    (tmp_path / "sweep.yaml").write_text(SWEEP.format(root=tmp_path / "music"))
    paths = os.environ.get("PYTHONPATH", "")  # without the checkout itself: see search/__main__.py
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), "--cluster.address", address],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": paths, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all passed" in done.stdout


def _write_corpus(root: Path) -> None:
    rng = np.random.default_rng(0)
    lines = ["path,label"]
    t = np.arange(16_000) / 16_000
    for name, hz in (("low", 220.0), ("high", 880.0)):
        for group in range(6):
            (root / name / f"{name}{group}").mkdir(parents=True)
            for clip in range(2):
                wave = 0.3 * np.sin(2 * np.pi * hz * (1 + 0.05 * rng.standard_normal()) * t)
                wave += 0.03 * rng.standard_normal(len(t))
                path = root / name / f"{name}{group}" / f"{clip}.wav"
                soundfile.write(path, wave, 16_000)
                lines.append(f"{path},{name}")
    (root.parent / "table").mkdir()
    (root.parent / "table" / "train.csv").write_text("\n".join(lines))
