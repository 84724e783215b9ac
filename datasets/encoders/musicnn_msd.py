"""musicnn, trained on the tags of Million Song Dataset: see `datasets.programs.musicnn_network`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from chorale.datasets.base import EncoderInfo, PackageFile
from chorale.datasets.programs import musicnn_network

if TYPE_CHECKING:
    import numpy as np

INFO = EncoderInfo(
    name="musicnn_msd",
    title="musicnn, a music tagger (Million Song Dataset)",
    trained_on="Million Song Dataset: 200,000 songs with the 50 most frequent Last.fm tags",
    code_licence="ISC",
    weights_licence="ISC",
    citation=(
        "Pons and Serra, musicnn: pre-trained convolutional neural networks for music audio "
        "tagging, 2019, https://arxiv.org/abs/1909.06654"
    ),
    homepage="https://github.com/jordipons/musicnn",
    sample_rate=musicnn_network.SAMPLE_RATE,
    window_s=musicnn_network.WINDOW_S,
    layers=musicnn_network.LAYERS,
    file_name="musicnn_msd.safetensors",
    weights=(
        PackageFile(
            "musicnn",
            "0.1.0",
            "musicnn/MSD_musicnn/.index",
            "87f3e0f3550c8d3bafc840374003e5c8af5eeb5ecf6add61af09a7822d3282c8",
        ),
        PackageFile(
            "musicnn",
            "0.1.0",
            "musicnn/MSD_musicnn/.data-00000-of-00001",
            "8579734ee6388f799ed0def4bbd0d1fdcbeaf213ef2a9dc860917bd76a303de6",
        ),
    ),
)


def convert(folder: Path) -> None:
    """Writes `INFO.file_name` from the checkpoint in `folder`."""
    musicnn_network.convert_checkpoint(folder, INFO.file_name)


def load(file: Path, *, layer: str, device: str) -> "Callable[[np.ndarray], np.ndarray]":
    """The network on `device`: one frame for each window of 3 seconds."""
    return musicnn_network.load_musicnn(file, layer=layer, device=device)
