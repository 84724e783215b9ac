"""What the bins of a spectral feature set are, so that features can be changed as sound would be.

`scale` of a file in `datasets/features` gives one; `lightning_models.augment` reads it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt

from chorale.datasets.dsp.mel_config import MelConfig
from chorale.datasets.dsp.mel_spectrogram import (
    Floats,
    frame_count,
    hann,
    mel_edges_hz,
    mel_filters,
    spectra,
)

MIN_DB = -100.0
"""No level is lower: that of silence, and of `spectrum.AMIN`."""


class Framing(Protocol):
    """A config of a feature set that cuts a waveform into frames."""

    @property
    def sample_rate(self) -> int:
        """Hz."""
        ...

    @property
    def n_fft(self) -> int:
        """Samples of a frame."""
        ...

    @property
    def hop_length(self) -> int:
        """Samples from one frame to the next."""
        ...


@dataclass(frozen=True, eq=False)
class Scale:
    """What the values of a frame say: the levels of bands in dB, or coefficients of these.

    `centers_hz` (n_bands,) rises. `weights` (n_bands,) turn the power in each band into its part
    of the waveform's mean square. `power` gives the power in each band, (n_bands, n_frames), of a
    waveform (n_samples,). Where `n_coefficients` is none, a frame holds the bands' levels relative
    to 1, else as many coefficients of their orthonormal cosine transform.
    """

    framing: Framing
    centers_hz: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]
    power: Callable[[Floats], Floats]
    n_coefficients: int | None = None

    @property
    def n_bands(self) -> int:
        """How many bands there are; a frame of coefficients may hold fewer values."""
        return len(self.centers_hz)

    def cosines(self) -> Floats | None:
        """(n_bands, n_coefficients): levels times these are coefficients; none where levels stay.

        Its columns are orthonormal, so its transpose leads back, but for what was truncated.
        """
        if self.n_coefficients is None:
            return None
        order = np.arange(self.n_coefficients)
        phase = np.pi * (np.arange(self.n_bands)[:, None] + 0.5) * order / self.n_bands
        norm = np.where(order == 0, np.sqrt(1 / self.n_bands), np.sqrt(2 / self.n_bands))
        return np.asarray(norm * np.cos(phase), np.float32)

    def white_noise(self, n_frames: int, rng: np.random.Generator) -> Floats:
        """The power in each band of white noise of mean square 1: (n_frames, n_bands).

        Made from samples, so that it fluctuates between bands and frames as such noise does.
        """
        n_fft, hop = self.framing.n_fft, self.framing.hop_length
        n_edge = -(-n_fft // (2 * hop))  # frames at each end that reach into the silence beyond
        n_samples = (n_frames + 2 * n_edge) * hop + n_fft % 2
        waveform = rng.standard_normal(n_samples, dtype=np.float32)
        return np.ascontiguousarray(self.power(waveform)[:, n_edge : n_edge + n_frames].T)


def mel_scale(config: MelConfig, *, n_coefficients: int | None = None) -> Scale:
    """The scale of mel bands, or of `n_coefficients` cepstral coefficients of them."""
    edges_hz = mel_edges_hz(config)
    # a triangle has the area 1; as high as 1, neighbours would add up to 1 at each frequency
    heights_hz = (edges_hz[2:] - edges_hz[:-2]) / 2
    return Scale(
        framing=config,
        centers_hz=edges_hz[1:-1],
        weights=heights_hz * 2 / _window_power(config),
        power=partial(_mel_power, config=config),
        n_coefficients=n_coefficients,
    )


def _mel_power(waveform: Floats, *, config: MelConfig) -> Floats:
    """Like `mel_spectrogram`, without what a training process would compile for seconds first."""
    n_frames = frame_count(waveform, config.n_fft, config.hop_length)
    power = np.empty((n_frames, config.n_mels), np.float32)
    filters = np.ascontiguousarray(mel_filters(config).T)
    blocks = spectra(waveform, n_fft=config.n_fft, hop_length=config.hop_length, n_frames=n_frames)
    for start, spectrum in blocks:
        power[start : start + len(spectrum)] = np.square(np.abs(spectrum)) @ filters
    return power.T


def linear_scale(config: Framing, power: Callable[[Floats], Floats]) -> Scale:
    """The scale of the bins of a short-time Fourier transform."""
    n_fft = config.n_fft
    bins = np.arange(1 + n_fft // 2)
    twice = np.where((bins == 0) | (2 * bins == n_fft), 1, 2)  # what stands for -f as well
    return Scale(
        framing=config,
        centers_hz=np.asarray(bins * (config.sample_rate / n_fft), np.float64),
        weights=twice / _window_power(config),
        power=power,
    )


def _window_power(config: Framing) -> float:
    """What Parseval's theorem divides by: the mean square is the sum of all |bins|^2 over this."""
    return config.n_fft * float(np.square(hann(config.n_fft), dtype=np.float64).sum())
