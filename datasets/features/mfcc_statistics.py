"""Statistics of the MFCCs of a whole track: a table, on which small networks train in seconds.

The feature cache calls `extract` once for each track. Sweeps of audio compute it by default, so
that they have networks for any budget.
"""

from typing import TYPE_CHECKING

import numpy as np

from chorale.datasets.base import Layout
from chorale.datasets.config import config as config_class
from chorale.datasets.dsp.cepstrum import CepstrumConfig, cepstrum
from chorale.datasets.dsp.frame_statistics import N_BLOCKS, frame_statistics
from chorale.datasets.dsp.mel_spectrogram import Float32Array

if TYPE_CHECKING:
    from torch import nn

VERSION = 1
LAYOUT: Layout = "table"
SPECTRAL = False


@config_class
class Config(CepstrumConfig):
    """The coefficients whose statistics are taken."""

    @property
    def frame_rate_hz(self) -> float:
        """0: a track has a single frame, whatever its length."""
        return 0.0

    @property
    def n_bins(self) -> int:
        """Values in the frame."""
        return N_BLOCKS * self.n_mfcc


def extract(waveform: Float32Array, config: Config) -> Float32Array:
    """Means and standard deviations of the coefficients, their differences, and thirds.

    Args:
        waveform: float32 `(n_samples,)` at `config.sample_rate`, not empty.
        config: frames, bands and coefficients.

    Returns:
        float32 `(7 * n_mfcc,)`, one block after the other; see
        `datasets.dsp.frame_statistics.frame_statistics`.

    Raises:
        ValueError: `waveform` is empty.
    """
    return frame_statistics(cepstrum(waveform, config)).reshape(-1).astype(np.float32)


def network(config: Config) -> "nn.Module":
    """The feature set as a module, for export: (n_samples,) -> (1, n_bins)."""
    from chorale.datasets.dsp.feature_networks import MfccStatistics

    return MfccStatistics(config)
