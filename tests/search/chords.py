"""Fixtures of several labels: recordings of up to three tones at once, and a study of them."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile

from chorale.search.baselines import baseline_plan, classifiers
from chorale.search.cli import main
from chorale.search.evaluation import candidates

RATE = 8000
PITCHES_HZ = {"high": 1200.0, "low": 300.0, "mid": 600.0}


@pytest.fixture(scope="session")
def chords(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest of 12 groups of 6 recordings of 0.6 s, each with one to three tones.

    The columns are file, labels and artist; the noise level depends on the artist.
    """
    root = tmp_path_factory.mktemp("chords")
    rng = np.random.default_rng(0)
    time_s = np.arange(int(0.6 * RATE)) / RATE
    lines = ["file,labels,artist"]
    for artist in range(12):
        hiss = rng.uniform(0.02, 0.1)
        for take in range(6):
            has = rng.random(3) < 0.5
            has[take % 3] = has[take % 3] or not has.any()
            names = [name for name, yes in zip(PITCHES_HZ, has, strict=True) if yes]
            wave = hiss * rng.standard_normal(len(time_s))
            for name in names:
                tone_hz = PITCHES_HZ[name] * rng.uniform(0.95, 1.05)
                wave += 0.2 * np.sin(2 * np.pi * tone_hz * time_s)
            soundfile.write(root / f"{artist}-{take}.wav", wave.astype(np.float32), RATE)
            lines.append(f"{artist}-{take}.wav,{';'.join(names)},{artist}")
    (root / "tracks.csv").write_text("\n".join(lines) + "\n")
    return root / "tracks.csv"


def digests(folder: Path) -> Mapping[str, str]:
    """The SHA-256 of each file below a folder, by relative path, without SQLite's journals."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if not path.name.endswith(("-wal", "-shm"))
    }


@pytest.fixture(scope="session")
def chord_study(chords: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The runs folder of a finished study of `chords` called `s`: two networks and a baseline.

    All tests of a process share it: one that changes it copies it first.
    """
    root = tmp_path_factory.mktemp("chord-study")
    (root / "s.yaml").write_text(
        f"""
dataset:
  name: folder
  root: {chords.parent}
  manifest: {chords}
  columns: {{path: file, label: labels, group: artist}}
features:
  mel: {{sample_rate: 8000, n_fft: 256, hop_length: 128, n_mels: 24}}
architectures: [cnn]
space:
  cnn: {{n_layers: 2, width: 16, pooling: mean_max, dropout: 0.1}}
  train: {{optimizer: adamw, lr: 0.003, center: false}}
train: {{crop_s: 0.4, batch_size: 16}}
budget: {{trials: 2, max_epochs: 4}}
finalists: {{configs: 2, folds: 2}}
ensemble: {{kinds: [soft_vote, stacking], kind: stacking, coverage: 0.8}}
runs: {root / "runs"}
"""
    )
    grids = {"logistic_regression": {"statistics": ("mean_std",), "C": (0.1,)}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "MAX_BEHIND", 1.0)  # both finalists, however good they are
        for module in (classifiers, baseline_plan):
            patch.setattr(module, "GRIDS", grids)
        assert main(["sweep", str(root / "s.yaml"), "--cluster.address", "none"]) == 0
    before = digests(root / "runs")
    yield root / "runs"
    assert digests(root / "runs") == before, "a test has changed the study that all tests share"
