"""musicnn, trained on the tags of MagnaTagATune: see `datasets.programs.musicnn_network`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from chorale.datasets.base import EncoderInfo, PackageFile
from chorale.datasets.programs import musicnn_network

if TYPE_CHECKING:
    import numpy as np

INFO = EncoderInfo(
    name="musicnn",
    title="musicnn, a music tagger (MagnaTagATune)",
    trained_on="MagnaTagATune: 19,000 clips of music with 50 tags (genre, instrument, mood, voice)",
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
    file_name="musicnn.safetensors",
    weights=(
        PackageFile(
            "musicnn",
            "0.1.0",
            "musicnn/MTT_musicnn/.index",
            "da2d7bb670b2b31e9bc441bb1bd75eca31b5b061f963cc1f9630c1aff3238f57",
        ),
        PackageFile(
            "musicnn",
            "0.1.0",
            "musicnn/MTT_musicnn/.data-00000-of-00001",
            "041f3935e981a65cea739842d30c188d3a7d2adf4410955c8668eb3de4a5acab",
        ),
    ),
)


def convert(folder: Path) -> None:
    """Writes `INFO.file_name` from the checkpoint in `folder`."""
    musicnn_network.convert_checkpoint(folder, INFO.file_name)


def load(file: Path, *, layer: str, device: str) -> "Callable[[np.ndarray], np.ndarray]":
    """The network on `device`: one frame for each window of 3 seconds."""
    return musicnn_network.load_musicnn(file, layer=layer, device=device)
