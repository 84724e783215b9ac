"""Frequency scale of a spectral feature set: centres, weights and power of its bands.

`scale` of a file in `datasets/features` returns one; `lightning_models.augment` uses it to augment
features as if the waveform had been changed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt

from chorale.datasets.dsp.mel_config import MelConfig
from chorale.datasets.dsp.mel_spectrogram import (
    Float32Array,
    frame_count,
    hann_window,
    mel_edges_hz,
    mel_filters,
    stft_blocks,
)

MIN_DB = -100.0
"""The lowest level: that of silence, and of `mel_spectrogram.AMIN`."""


class Framing(Protocol):
    """A config of a feature set that cuts a waveform into frames."""

    @property
    def sample_rate(self) -> int:
        """Hz."""
        ...

    @property
    def n_fft(self) -> int:
        """Samples per frame."""
        ...

    @property
    def hop_length(self) -> int:
        """Samples from one frame to the next."""
        ...


@dataclass(frozen=True, eq=False)
class FrequencyScale:
    """The meaning of a frame's values: band levels in dB, or cosine coefficients of these.

    `centers_hz` (n_bands,) is ascending. `weights` (n_bands,) convert the power in each band to its
    part of the waveform's mean square. `power` returns the power in each band, (n_bands, n_frames),
    of a waveform (n_samples,). If `n_coefficients` is None, a frame has the bands' levels relative
    to 1, otherwise that many coefficients of their orthonormal cosine transform.
    """

    framing: Framing
    centers_hz: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]
    power: Callable[[Float32Array], Float32Array]
    n_coefficients: int | None = None

    @property
    def n_bands(self) -> int:
        """Number of bands; a frame of coefficients may have fewer values."""
        return len(self.centers_hz)

    def cosines(self) -> Float32Array | None:
        """The DCT matrix (n_bands, n_coefficients) from levels to coefficients; None for levels.

        Its columns are orthonormal, so its transpose is the inverse, except for the truncation.
        """
        if self.n_coefficients is None:
            return None
        order = np.arange(self.n_coefficients)
        phase = np.pi * (np.arange(self.n_bands)[:, None] + 0.5) * order / self.n_bands
        norm = np.where(order == 0, np.sqrt(1 / self.n_bands), np.sqrt(2 / self.n_bands))
        return np.asarray(norm * np.cos(phase), np.float32)

    def white_noise(self, n_frames: int, rng: np.random.Generator) -> Float32Array:
        """The power in each band of white noise of mean square 1: (n_frames, n_bands).

        Computed from samples, so that it fluctuates between bands and frames like real noise.
        """
        n_fft, hop = self.framing.n_fft, self.framing.hop_length
        n_edge = -(-n_fft // (2 * hop))  # frames at each end that contain padding
        n_samples = (n_frames + 2 * n_edge) * hop + n_fft % 2
        waveform = rng.standard_normal(n_samples, dtype=np.float32)
        return np.ascontiguousarray(self.power(waveform)[:, n_edge : n_edge + n_frames].T)


def mel_scale(config: MelConfig, *, n_coefficients: int | None = None) -> FrequencyScale:
    """The scale of mel bands, or of `n_coefficients` cepstral coefficients of them."""
    edges_hz = mel_edges_hz(config)
    # triangles have area 1; with height 1 instead, neighbours sum to 1 at each frequency
    heights_hz = (edges_hz[2:] - edges_hz[:-2]) / 2
    return FrequencyScale(
        framing=config,
        centers_hz=edges_hz[1:-1],
        weights=heights_hz * 2 / _window_power(config),
        power=partial(_mel_power, config=config),
        n_coefficients=n_coefficients,
    )


def _mel_power(waveform: Float32Array, *, config: MelConfig) -> Float32Array:
    """Like `mel_spectrogram`, without the compiled kernel, whose compilation takes seconds."""
    n_frames = frame_count(waveform, config.n_fft, config.hop_length)
    power = np.empty((n_frames, config.n_mels), np.float32)
    filters = np.ascontiguousarray(mel_filters(config).T)
    blocks = stft_blocks(
        waveform, n_fft=config.n_fft, hop_length=config.hop_length, n_frames=n_frames
    )
    for start, spectrum in blocks:
        power[start : start + len(spectrum)] = np.square(np.abs(spectrum)) @ filters
    return power.T


def linear_scale(config: Framing, power: Callable[[Float32Array], Float32Array]) -> FrequencyScale:
    """The scale of the bins of a short-time Fourier transform."""
    n_fft = config.n_fft
    bins = np.arange(1 + n_fft // 2)
    twice = np.where((bins == 0) | (2 * bins == n_fft), 1, 2)  # bins that also represent -f
    return FrequencyScale(
        framing=config,
        centers_hz=np.asarray(bins * (config.sample_rate / n_fft), np.float64),
        weights=twice / _window_power(config),
        power=power,
    )


def _window_power(config: Framing) -> float:
    """Parseval's normalisation: the mean square is the sum of all |bins|^2 divided by this."""
    return config.n_fft * float(np.square(hann_window(config.n_fft), dtype=np.float64).sum())
