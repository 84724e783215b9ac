"""Mel-frequency cepstral coefficients (MFCC): the spectral envelope in a few numbers per frame.

The feature cache calls `extract` once for each track.
"""

from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from chorale.datasets.base import Layout
from chorale.datasets.config import config as config_class
from chorale.datasets.dsp.frequency_scale import FrequencyScale, mel_scale
from chorale.datasets.dsp.mel_config import MelConfig
from chorale.datasets.dsp.mel_spectrogram import Float32Array, mel_spectrogram, power_to_db

if TYPE_CHECKING:
    from torch import nn

VERSION = 1
LAYOUT: Layout = "spectrogram"
SPECTRAL = False


@config_class
class Config(MelConfig):
    """A mel spectrogram and the number of cepstral coefficients."""

    n_mfcc: Annotated[int, Field(ge=1, le=512)] = 20
    """coefficients, the first of them the overall level"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_mfcc > self.n_mels:
            raise ValueError(f"n_mfcc must be at most {self.n_mels=}, but got {self.n_mfcc=}")

    @property
    def n_bins(self) -> int:
        """Values in a frame."""
        return self.n_mfcc


def extract(waveform: Float32Array, config: Config) -> Float32Array:
    """The first coefficients of the cosine transform of the mel bands' levels.

    Args:
        waveform: float32 `(n_samples,)` at `config.sample_rate`, not empty.
        config: frames, bands and coefficients.

    Returns:
        float32 `(n_mfcc, n_frames)`.

    Raises:
        ValueError: `waveform` is empty.

    Source: Davis and Mermelstein, "Comparison of parametric representations for monosyllabic word
    recognition in continuously spoken sentences", 1980, https://doi.org/10.1109/TASSP.1980.1163420;
    as `librosa.feature.mfcc` does it (McFee et al., 2015).
    """
    import scipy.fft  # lazy, because reading the config alone does not need it

    level = power_to_db(mel_spectrogram(waveform, config)).T  # (n_frames, n_mels)
    cepstrum = scipy.fft.dct(level, type=2, norm="ortho", axis=1)
    return np.ascontiguousarray(cepstrum[:, : config.n_mfcc]).T


def scale(config: Config) -> FrequencyScale:
    """The frequency scale of the bins."""
    return mel_scale(config, n_coefficients=config.n_mfcc)


def network(config: Config) -> "nn.Module":
    """The feature set as a module, for export: (n_samples,) -> (n_frames, n_bins)."""
    from chorale.datasets.dsp.feature_networks import Mfcc

    return Mfcc(config)
