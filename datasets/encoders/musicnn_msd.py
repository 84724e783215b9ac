"""musicnn, trained on the tags of Million Song Dataset: see `datasets.programs.musicnn_network`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from chorale.datasets.programs import musicnn_network

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

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


def load_block_input(
    file: Path, *, layer: str, n_blocks: int, device: str
) -> "Callable[[np.ndarray], np.ndarray]":
    """The input of the last blocks before a layer, on `device`."""
    return musicnn_network.load_block_input(file, layer=layer, n_blocks=n_blocks, device=device)


def last_blocks(file: Path | None, *, layer: str, n_blocks: int) -> "nn.Module":
    """The last blocks before a layer."""
    from chorale.datasets.programs import musicnn_blocks

    return musicnn_blocks.last_blocks(file, layer=layer, n_blocks=n_blocks)
