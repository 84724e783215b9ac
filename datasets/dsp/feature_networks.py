"""Feature sets as PyTorch modules, for export: the same values as `extract`, by tensor operations.

A feature set's file returns one of these, or a module of its own, from `network(config)`.
"""

import math
from typing import Any

import numpy as np
import torch
from scipy.fft import dct
from torch import Tensor, nn

from chorale.datasets.dsp.fourier_graph import PowerSpectrum
from chorale.datasets.dsp.mel_spectrogram import AMIN, TOP_DB, mel_filters


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
    """Spectrograms in dB: (n_samples,) -> (n_frames, n_bins). See `datasets.features.stft`."""

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


def level_db(power: Tensor) -> Tensor:
    """Power to dB, as `datasets.dsp.mel_spectrogram.power_to_db`; keeps the shape."""
    level = power.clamp(min=AMIN).log() * (10 / math.log(10))
    return torch.maximum(level, level.max() - TOP_DB)
