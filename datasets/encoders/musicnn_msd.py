"""musicnn, trained on the tags of Million Song Dataset: see `datasets.programs.musicnn_network`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from chorale.datasets.programs import musicnn_network

if TYPE_CHECKING:
    import numpy as np

INFO = musicnn_network.musicnn_info(
    "musicnn_msd",
    title="musicnn, a music tagger (Million Song Dataset)",
    trained_on="Million Song Dataset: 200,000 songs with the 50 most frequent Last.fm tags",
    folder="MSD_musicnn",
    index_sha256="87f3e0f3550c8d3bafc840374003e5c8af5eeb5ecf6add61af09a7822d3282c8",
    data_sha256="8579734ee6388f799ed0def4bbd0d1fdcbeaf213ef2a9dc860917bd76a303de6",
)


def convert(folder: Path) -> None:
    """Writes `INFO.file_name` from the checkpoint in `folder`."""
    musicnn_network.convert_checkpoint(folder, INFO.file_name)


def load(file: Path, *, layer: str, device: str) -> "Callable[[np.ndarray], np.ndarray]":
    """The network on `device`: one frame for each window of 3 seconds."""
    return musicnn_network.load_musicnn(file, layer=layer, device=device)


load_block_input = musicnn_network.load_block_input
last_blocks = musicnn_network.last_blocks
