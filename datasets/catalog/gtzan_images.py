"""GTZAN's mel spectrogram images: one PNG per clip, 432 x 288 pixels with four channels.

The track table has the artist as group; `load` reads an image as numbers. Files:

    images_original/GENRE/GENRENNNNN.png   the copy on Kaggle: blues/blues00000.png

Pitfalls: one of the 1,000 is missing, that of the clip that cannot be decoded; pixels are colours
of a colour map, not levels, and their fourth channel is opacity.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from chorale.datasets.base import DatasetInfo, existing_folder
from chorale.datasets.config import config
from chorale.datasets.errors import UserError
from chorale.datasets.tables import gtzan_tracks
from chorale.datasets.tables.gtzan_tracks import GTZAN_GENRES, UNDECODABLE, GtzanProtocol

if TYPE_CHECKING:
    import pandas as pd

INFO = DatasetInfo(
    name="gtzan_images",
    title="GTZAN mel spectrogram pictures: RGBA, 432 x 288",
    licence=gtzan_tracks.LICENCE,
    citation=gtzan_tracks.GTZAN_CITATION + "; pictures: A. Olteanu, Kaggle, 2020",
    homepage=(
        "https://www.kaggle.com/datasets/andradaolteanu/gtzan-dataset-music-genre-classification"
    ),
    labels=GTZAN_GENRES,
    n_tracks=gtzan_tracks.N_GTZAN_TRACKS - 1,
    size="1.2 GB with the audio, in one archive",
    how_to_get=gtzan_tracks.HOW_TO_GET,
    features=("spectrogram_image",),
)

_FILE_NAME = re.compile(r"(?P<genre>[a-z]+)(?P<number>[0-9]{5})\.(?i:png)")
_SUBFOLDERS = ("images_original", "Data/images_original", "")
DURATION_S = 30.0
"""Duration of the clip that an image shows."""
MAX_SIDE = 4096
"""Pixels; the published images have 432 x 288, and a small file can claim millions."""
MODES = ("RGBA", "RGB", "LA", "L", "P", "1")
"""Pixel modes of Pillow that have at most 8 bits per channel."""


@config
class Config:
    """Where the images are, which of them to use, and how many channels to read."""

    root: str
    """folder that contains images_original, or that folder itself"""
    grey: bool = False
    """one channel, the brightness, instead of red, green, blue and opacity"""
    protocol: GtzanProtocol = "fault_filtered"
    """fault_filtered: 930 tracks in the published, artist-disjoint split; all: every track, with
    its artist as group and no official split"""


def tracks(config: Config) -> "pd.DataFrame":
    """One row per existing image; its `path` is the PNG's.

    Raises:
        UserError: `root` is missing, or has none of the images.
    """
    root = existing_folder(config.root, dataset=INFO.name)
    found = gtzan_tracks.find_files(root, _SUBFOLDERS, _FILE_NAME, dataset=INFO.name)
    if not found:
        raise UserError(
            f"dataset 'gtzan_images': no image such as images_original/blues/blues00000.png "
            f"below '{root}'; give the folder that contains images_original with "
            f"--dataset.root FOLDER"
        )
    return gtzan_tracks.gtzan_track_table(
        found, protocol=config.protocol, dataset=INFO.name, known_missing={UNDECODABLE}
    )


def load(path: str | Path, config: Config) -> npt.NDArray[np.float32]:
    """Reads an image: float32 `(n_channels, height, width)` in 0..1, the top row first.

    `n_channels` is 1 if `config.grey`, otherwise 4: red, green, blue, opacity. Grey is the
    brightness by ITU-R BT.601, 0.299 red + 0.587 green + 0.114 blue, ignoring opacity.

    Raises:
        UserError: the file is no PNG, is damaged, or is larger than `MAX_SIDE` on a side; the size
            is checked before any pixel is decoded.
    """
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            width, height = picture.size
            if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
                raise _unusable(path, f"it has {width} x {height} pixels, above {MAX_SIDE}")
            if picture.mode not in MODES:
                raise _unusable(path, f"its pixel mode is {picture.mode}")
            colours = picture.convert("RGBA")
            pixels = np.asarray(colours.convert("L") if config.grey else colours)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _unusable(path, str(error)) from None
    channels = pixels[None] if config.grey else pixels.transpose(2, 0, 1)
    return np.ascontiguousarray(channels, dtype=np.float32) / np.float32(255)


def _unusable(path: str | Path, why: str) -> UserError:
    return UserError(
        f"dataset 'gtzan_images': '{path}' is no usable PNG image ({why}); "
        f"get it again, or remove it"
    )
