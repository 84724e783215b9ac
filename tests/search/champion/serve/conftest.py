"""A small bundle, trained in seconds, and its loaded predictor."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from chorale.search.bundle.bundle import Bundle
from chorale.search.bundle.predictor import Predictor
from chorale.search.cli import main


@pytest.fixture(scope="session")
def served_bundle(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Path:
    """A bundle of two small networks that classify tones of three pitches."""
    root = tmp_path_factory.mktemp("served")
    sweep = root / "s.yaml"
    sweep.write_text(
        f"""
dataset: {{name: folder, root: {corpus}, group: '(artist.)'}}
features:
  mel: {{sample_rate: 8000, n_fft: 256, hop_length: 128, n_mels: 24}}
architectures: [cnn]
space:
  cnn: {{n_layers: 2, width: 16, pooling: mean_max, dropout: 0.1}}
  train: {{optimizer: adamw, lr: 0.003, center: false}}
train: {{crop_s: 0.4, batch_size: 16}}
budget: {{trials: 1, max_epochs: 4}}
finalists: {{configs: 1, folds: 2}}
runs: {root / "runs"}
"""
    )
    assert main(["sweep", str(sweep), "--cluster.address", "none"]) == 0
    assert main(["export", "s", "--runs", str(root / "runs"), "--to", str(root / "bundle")]) == 0
    return root / "bundle"


@pytest.fixture(scope="session")
def served(served_bundle: Path) -> Predictor:
    return Predictor(Bundle.open(served_bundle))


def tone(seconds: float = 0.6, *, rate: int = 8000, hz: float = 300, channels: int = 1) -> bytes:
    """A tone as the bytes of a WAV file."""
    wave = 0.3 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)
    file = io.BytesIO()
    soundfile.write(file, np.stack([wave] * channels, axis=1), rate, format="WAV")
    return file.getvalue()


@pytest.fixture
def make_tone() -> object:
    return tone
