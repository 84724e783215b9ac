"""Feature sets as networks: the same numbers as `datasets.features` gives, from tensors alone.

`search.champion.export.whole_network` puts them before a bundle's networks, so that all of it can
be exported.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from scipy.fft import dct
from torch import Tensor, nn

from chorale.datasets.dsp.mel_spectrogram import AMIN, TOP_DB, mel_filters
from chorale.search.champion.export.fourier_graph import PowerSpectrum


class Mel(nn.Module):
    """Log-mel spectrograms: (n_samples,) -> (n_frames, n_mels). See `datasets.features.mel`."""

    filters: Tensor

    def __init__(self, config: Any) -> None:
        """For a config of the feature set."""
        super().__init__()
        self.power = PowerSpectrum(config.n_fft, config.hop_length)
        self.register_buffer("filters", self.power.filters(mel_filters(config)))

    def forward(self, waveform: Tensor) -> Tensor:
        """(n_samples,) -> (n_frames, n_mels), in dB."""
        return level_db(torch.matmul(self.power(waveform), self.filters))


class Mfcc(nn.Module):
    """Cepstral coefficients: (n_samples,) -> (n_frames, n_mfcc). See `datasets.features.mfcc`."""

    transform: Tensor

    def __init__(self, config: Any) -> None:
        """For a config of the feature set."""
        super().__init__()
        self.mel = Mel(config)
        cosines = dct(np.eye(config.n_mels), type=2, norm="ortho", axis=1)[:, : config.n_mfcc]
        self.register_buffer("transform", torch.from_numpy(cosines.astype(np.float32)))

    def forward(self, waveform: Tensor) -> Tensor:
        """(n_samples,) -> (n_frames, n_mfcc)."""
        return torch.matmul(self.mel(waveform), self.transform)


class Stft(nn.Module):
    """Every bin's level: (n_samples,) -> (n_frames, n_bins). See `datasets.features.stft`."""

    order: Tensor

    def __init__(self, config: Any) -> None:
        """For a config of the feature set."""
        super().__init__()
        self.power = PowerSpectrum(config.n_fft, config.hop_length)
        chosen = self.power.filters(np.eye(config.n_bins, dtype=np.float32))
        self.register_buffer("order", chosen.argmax(dim=0))

    def forward(self, waveform: Tensor) -> Tensor:
        """(n_samples,) -> (n_frames, n_bins), in dB."""
        return level_db(self.power(waveform).index_select(1, self.order))


HEARING: Mapping[str, Callable[[Any], nn.Module]] = {"mel": Mel, "mfcc": Mfcc, "stft": Stft}
"""Feature set -> what makes its network of its config."""

CANNOT: Mapping[str, str] = {
    "stats57": "it follows beats and separates harmony from percussion, which no graph holds",
    "stats518": "its constant-Q transforms and ranks are no graph",
    "encoder": "it is a program of its own, which only PyTorch runs",
    "spectrogram_image": "its pictures are resized by Pillow",
}
"""Feature set -> why it has no network."""


def level_db(power: Tensor) -> Tensor:
    """As `datasets.dsp.mel_spectrogram.power_to_db`: the same shape."""
    level = power.clamp(min=AMIN).log() * (10 / math.log(10))
    return torch.maximum(level, level.max() - TOP_DB)
