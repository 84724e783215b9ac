"""Log-mel spectrogram: the usual input of convolutional networks for audio.

The feature cache calls `extract` once for each track.
"""

from typing import TYPE_CHECKING, Annotated

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
SPECTRAL = True


@config_class
class Config(MelConfig):
    """A mel spectrogram and how many bands it has."""

    n_mels: Annotated[int, Field(ge=2, le=512)] = 96
    """mel bands"""

    @property
    def n_bins(self) -> int:
        """Values in a frame."""
        return self.n_mels


def extract(waveform: Float32Array, config: Config) -> Float32Array:
    """The level of each mel band over time, in dB, at most 80 dB below the loudest.

    Args:
        waveform: float32 `(n_samples,)` at `config.sample_rate`, not empty.
        config: frames and bands.

    Returns:
        float32 `(n_mels, n_frames)`.

    Raises:
        ValueError: `waveform` is empty.

    Source: McFee et al., "librosa: Audio and Music Signal Analysis in Python", 2015,
    https://doi.org/10.25080/Majora-7b98e3ed-003 (`power_to_db(melspectrogram(...))`).
    """
    return power_to_db(mel_spectrogram(waveform, config))


def scale(config: Config) -> FrequencyScale:
    """The frequency scale of the bins."""
    return mel_scale(config)


def network(config: Config) -> "nn.Module":
    """The feature set as a module, for export: (n_samples,) -> (n_frames, n_bins)."""
    from chorale.datasets.dsp.feature_networks import Mel

    return Mel(config)
