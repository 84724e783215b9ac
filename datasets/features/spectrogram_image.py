"""Mel spectrograms as pictures: what image networks were fed with in the published reports.

The feature cache calls `extract` once for each track; `datasets.catalog.gtzan_images` reads such
pictures ready-made.
"""

from typing import Annotated

import numpy as np
from pydantic import Field

from chorale.datasets.config import config as config_class
from chorale.datasets.dsp import magma
from chorale.datasets.dsp.mel_config import MelConfig
from chorale.datasets.dsp.mel_spectrogram import TOP_DB, Floats, mel_spectrogram, power_to_db

VERSION = 1
SPECTRAL = True


@config_class
class Config(MelConfig):
    """A mel spectrogram, and the size and colours of its picture."""

    height: Annotated[int, Field(ge=8, le=1024)] = 128
    """rows of pixels; the published pictures have 288"""
    width: Annotated[int, Field(ge=8, le=4096)] = 432
    """columns of pixels of a track that lasts `duration_s`"""
    duration_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """what `width` columns show; a longer or shorter track gives more or fewer of them"""
    grey: bool = True
    """one channel, the level, instead of red, green, blue and opacity"""

    @property
    def frame_rate_hz(self) -> float:
        """Columns a second."""
        return self.width / self.duration_s

    @property
    def n_channels(self) -> int:
        """1 where `grey`, else 4."""
        return 1 if self.grey else 4

    @property
    def n_bins(self) -> int:
        """Values in a column: `n_channels * height`, the first channel's first, from the top."""
        return self.n_channels * self.height


def extract(waveform: Floats, config: Config) -> Floats:
    """The picture of a track; the loudest is 1 and all that is 80 dB below it 0.

    Args:
        waveform: float32 `(n_samples,)` at `config.sample_rate`, not empty.
        config: the mel spectrogram, and the size and colours of its picture.

    Returns:
        float32 `(n_channels * height, n_columns)` in 0..1, which `reshape(n_channels, height, -1)`
        makes a picture, high frequencies in the top row. `n_columns` is `width` for a track of
        `duration_s`. The colours are those of the colour map "magma".

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
    return levels if config.grey else magma.rgba(levels).reshape(config.n_bins, n_columns)
