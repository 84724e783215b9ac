"""A small folder of audio that a network can learn within seconds."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

SAMPLE_RATE = 8000


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three labels x 5 groups x 4 tracks of 0.6 s: tones whose height is the label's.

    A group's loudness and hiss are its own, so groups matter.
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


@pytest.fixture
def tiny(corpus: Path, tmp_path: Path) -> list[str]:
    """The words of a sweep over `corpus` that takes seconds, without its `--cluster.address`."""
    sweep = tmp_path / "tiny.yaml"
    sweep.write_text(
        f"""
dataset: {{name: folder, root: {corpus}, group: '(artist.)'}}
features:
  mel: {{sample_rate: 8000, n_fft: 256, hop_length: 128, n_mels: 24}}
  mfcc: {{sample_rate: 8000, n_fft: 256, hop_length: 128, n_mels: 24, n_mfcc: 12}}
architectures: [cnn, recurrent]
space:
  cnn: {{n_layers: 2, width: {{choice: [16]}}}}
train: {{crop_s: 0.4, batch_size: 16}}
budget: {{trials: 4, max_epochs: 4}}
finalists: {{configs: 2, folds: 2}}
runs: {tmp_path / "runs"}
"""
    )
    return [str(sweep)]
