"""Log-magnitude spectrogram (STFT): every bin of the short-time Fourier transform, in dB.

The feature cache calls `extract` once for each track.
"""

from functools import partial
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from chorale.datasets.base import Layout
from chorale.datasets.config import config as config_class
from chorale.datasets.dsp.frequency_scale import FrequencyScale, linear_scale
from chorale.datasets.dsp.mel_spectrogram import Float32Array, frame_count, power_to_db, stft_blocks

if TYPE_CHECKING:
    from torch import nn

VERSION = 1
LAYOUT: Layout = "spectrogram"
SPECTRAL = True


@config_class
class Config:
    """Parameters of the STFT; frames are centred, the window is a Hann window."""

    sample_rate: Annotated[int, Field(ge=1_000, le=384_000)] = 22_050
    """Hz; audio at another rate is resampled to it"""
    n_fft: Annotated[int, Field(ge=16, le=16_384)] = 1024
    """samples of one window; a frame has `n_fft // 2 + 1` bins"""
    hop_length: Annotated[int, Field(ge=16, le=16_384)] = 512
    """samples from one frame to the next"""

    def __post_init__(self) -> None:
        if self.hop_length > self.n_fft:
            raise ValueError(
                f"hop_length must be at most n_fft={self.n_fft}, or samples between two windows "
                f"are lost, but got hop_length={self.hop_length}"
            )

    @property
    def frame_rate_hz(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop_length

    @property
    def n_bins(self) -> int:
        """Values in a frame."""
        return 1 + self.n_fft // 2


def extract(waveform: Float32Array, config: Config) -> Float32Array:
    """The level of each bin over time, in dB, at most 80 dB below the loudest.

    Args:
        waveform: float32 `(n_samples,)` at `config.sample_rate`, not empty.
        config: the parameters of the STFT.

    Returns:
        float32 `(1 + n_fft // 2, n_frames)`.

    Raises:
        ValueError: `waveform` is empty.

    Source: Allen, "Short term spectral analysis, synthesis, and modification by discrete Fourier
    transform", 1977, https://doi.org/10.1109/TASSP.1977.1162950; as librosa does it
    (`amplitude_to_db(abs(stft(...)))`, McFee et al., 2015).
    """
    return power_to_db(power_spectrogram(waveform, config).T).T


def power_spectrogram(waveform: Float32Array, config: Config) -> Float32Array:
    """The power in each bin over time, float32 `(1 + n_fft // 2, n_frames)`.

    Raises:
        ValueError: `waveform` is empty.
    """
    n_frames = frame_count(waveform, config.n_fft, config.hop_length)
    power = np.empty((n_frames, config.n_bins), np.float32)
    sizes = {"n_fft": config.n_fft, "hop_length": config.hop_length, "n_frames": n_frames}
    for start, spectrum in stft_blocks(waveform, **sizes):
        np.square(np.abs(spectrum), out=power[start : start + len(spectrum)])
    return power.T


def scale(config: Config) -> FrequencyScale:
    """The frequency scale of the bins."""
    return linear_scale(config, partial(power_spectrogram, config=config))


def network(config: Config) -> "nn.Module":
    """The feature set as a module, for export: (n_samples,) -> (n_frames, n_bins)."""
    from chorale.datasets.dsp.feature_networks import Stft

    return Stft(config)
