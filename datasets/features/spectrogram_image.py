"""Mel spectrogram images, as used with image networks in published reports.

The feature cache calls `extract` once for each track; `datasets.catalog.gtzan_images` reads
precomputed ones.
"""

from typing import Annotated

import numpy as np
from pydantic import Field

from chorale.datasets.base import Layout
from chorale.datasets.config import config as config_class
from chorale.datasets.dsp import magma
from chorale.datasets.dsp.mel_config import MelConfig
from chorale.datasets.dsp.mel_spectrogram import TOP_DB, Float32Array, mel_spectrogram, power_to_db

VERSION = 1
LAYOUT: Layout = "picture"
SPECTRAL = True
NO_NETWORK = "its images are resized by Pillow"


@config_class
class Config(MelConfig):
    """A mel spectrogram, and the size and colours of its image."""

    height: Annotated[int, Field(ge=8, le=1024)] = 128
    """rows of pixels; the published images have 288"""
    width: Annotated[int, Field(ge=8, le=4096)] = 432
    """columns of pixels of a track that lasts `duration_s`"""
    duration_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """duration of `width` columns; a longer or shorter track has more or fewer of them"""
    grey: bool = True
    """one channel, the level, instead of red, green, blue and opacity"""

    @property
    def frame_rate_hz(self) -> float:
        """Columns per second."""
        return self.width / self.duration_s

    @property
    def n_channels(self) -> int:
        """1 if `grey`, otherwise 4."""
        return 1 if self.grey else 4

    @property
    def n_bins(self) -> int:
        """Values in a column: `n_channels * height`, the first channel's first, from the top."""
        return self.n_channels * self.height


def extract(waveform: Float32Array, config: Config) -> Float32Array:
    """The spectrogram image of a track; the loudest level is 1, levels 80 dB below it are 0.

    Args:
        waveform: float32 `(n_samples,)` at `config.sample_rate`, not empty.
        config: the mel spectrogram, and the size and colours of its image.

    Returns:
        float32 `(n_channels * height, n_columns)` in 0..1; `reshape(n_channels, height, -1)` gives
        the image, high frequencies in the top row. `n_columns` is `width` for a track of
        `duration_s`. The colour map is "magma".

    Raises:
        ValueError: `waveform` is empty.

    Source: A. Olteanu, "GTZAN Dataset - Music Genre Classification" (`images_original`), 2020,
    https://www.kaggle.com/datasets/andradaolteanu/gtzan-dataset-music-genre-classification.
    """
    from PIL import Image

    level = power_to_db(mel_spectrogram(waveform, config))[::-1]  # (n_mels, n_frames)
    shade = np.clip((level - level.max()) / np.float32(TOP_DB) + 1, 0, 1)
    if np.ptp(level) == 0:  # silence is dark
        shade = np.zeros_like(shade)
    n_columns = max(1, round(len(waveform) / config.sample_rate * config.frame_rate_hz))
    picture = Image.fromarray(np.ascontiguousarray(shade, np.float32))
    sized = picture.resize((n_columns, config.height), Image.Resampling.BILINEAR)
    levels = np.clip(np.asarray(sized, np.float32), 0, 1)  # (height, n_columns)
    return levels if config.grey else magma.magma_rgba(levels).reshape(config.n_bins, n_columns)
