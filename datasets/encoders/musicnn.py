"""musicnn, trained on the tags of MagnaTagATune: see `datasets.programs.musicnn_network`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from chorale.datasets.programs import musicnn_network

if TYPE_CHECKING:
    import numpy as np

INFO = musicnn_network.musicnn_info(
    "musicnn",
    title="musicnn, a music tagger (MagnaTagATune)",
    trained_on="MagnaTagATune: 19,000 clips of music with 50 tags (genre, instrument, mood, voice)",
    folder="MTT_musicnn",
    index_sha256="da2d7bb670b2b31e9bc441bb1bd75eca31b5b061f963cc1f9630c1aff3238f57",
    data_sha256="041f3935e981a65cea739842d30c188d3a7d2adf4410955c8668eb3de4a5acab",
)


def convert(folder: Path) -> None:
    """Writes `INFO.file_name` from the checkpoint in `folder`."""
    musicnn_network.convert_checkpoint(folder, INFO.file_name)


def load(file: Path, *, layer: str, device: str) -> "Callable[[np.ndarray], np.ndarray]":
    """The network on `device`: one frame for each window of 3 seconds."""
    return musicnn_network.load_musicnn(file, layer=layer, device=device)


load_block_input = musicnn_network.load_block_input
last_blocks = musicnn_network.last_blocks
