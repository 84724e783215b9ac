"""Mel-frequency cepstral coefficients (MFCC): the spectral envelope in a few numbers per frame.

The feature cache calls `extract` once for each track.
"""

from typing import TYPE_CHECKING

from chorale.datasets.base import Layout
from chorale.datasets.config import config as config_class
from chorale.datasets.dsp.cepstrum import CepstrumConfig, cepstrum
from chorale.datasets.dsp.frequency_scale import FrequencyScale, mel_scale
from chorale.datasets.dsp.mel_spectrogram import Float32Array

if TYPE_CHECKING:
    from torch import nn

VERSION = 1
LAYOUT: Layout = "spectrogram"
SPECTRAL = False


@config_class
class Config(CepstrumConfig):
    """A mel spectrogram and the number of cepstral coefficients."""

    @property
    def n_bins(self) -> int:
        """Values in a frame."""
        return self.n_mfcc


def extract(waveform: Float32Array, config: Config) -> Float32Array:
    """The coefficients of each frame; see `datasets.dsp.cepstrum.cepstrum`.

    Args:
        waveform: float32 `(n_samples,)` at `config.sample_rate`, not empty.
        config: frames, bands and coefficients.

    Returns:
        float32 `(n_mfcc, n_frames)`.

    Raises:
        ValueError: `waveform` is empty.
    """
    return cepstrum(waveform, config).T


def scale(config: Config) -> FrequencyScale:
    """The frequency scale of the bins."""
    return mel_scale(config, n_coefficients=config.n_mfcc)


def network(config: Config) -> "nn.Module":
    """The feature set as a module, for export: (n_samples,) -> (n_frames, n_bins)."""
    from chorale.datasets.dsp.feature_networks import Mfcc

    return Mfcc(config)
