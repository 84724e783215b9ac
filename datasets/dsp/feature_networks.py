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


class MfccStatistics(nn.Module):
    """Statistics of the coefficients: (n_samples,) -> (1, n_bins).

    See `datasets.features.mfcc_statistics`.
    """

    def __init__(self, config: Any) -> None:
        """For a config of the feature set."""
        super().__init__()
        self.mfcc = Mfcc(config)

    def forward(self, waveform: Tensor) -> Tensor:
        """(n_samples,) -> (1, n_bins)."""
        frames = self.mfcc(waveform).double()
        length = torch.ones_like(frames[:, 0], dtype=torch.int64).sum()
        blocks = [*_moments(frames, length), *self._moments_of_steps(frames, length)]
        place = torch.arange(frames.shape[0])
        for third in range(3):
            begin = third * length // 3
            end = torch.maximum((third + 1) * length // 3, begin + 1)
            inside = ((place >= begin) & (place < end)).double().unsqueeze(1)
            blocks.append((frames * inside).sum(dim=0) / inside.sum())
        return torch.cat(blocks).float().unsqueeze(0)

    def _moments_of_steps(self, frames: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Those of the differences of successive frames; 0 where there is one frame."""
        steps = frames[1:] - frames[:-1]
        return _moments(steps, (length - 1).clamp(min=1))


def _moments(frames: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and the population standard deviation over time; 0 without frames."""
    mean = frames.sum(dim=0) / length
    return mean, ((frames - mean).square().sum(dim=0) / length).sqrt()


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
