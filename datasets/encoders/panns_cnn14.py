"""PANNs CNN14: a network that was trained to recognise the 527 kinds of sound of AudioSet.

Source: Kong et al., "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern
Recognition", 2020, https://arxiv.org/abs/1912.10211.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from chorale.datasets.base import EncoderInfo, WebFile
from chorale.datasets.programs import panns_network

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

INFO = EncoderInfo(
    name="panns_cnn14",
    title="PANNs CNN14 (sounds of all kinds)",
    trained_on="AudioSet: two million clips of videos with 527 kinds of sound, music and speech",
    code_licence="MIT; Chorale runs the weights alone",
    weights_licence="CC BY 4.0, Kong et al.",
    citation=(
        "Kong, Cao, Iqbal, Wang, Wang, Plumbley: PANNs: Large-Scale Pretrained Audio Neural "
        "Networks for Audio Pattern Recognition. IEEE/ACM Transactions on Audio, Speech, and "
        "Language Processing 28, 2020"
    ),
    homepage="https://github.com/qiuqiangkong/audioset_tagging_cnn",
    sample_rate=panns_network.SAMPLE_RATE,
    window_s=5.0,
    layers={"embedding": panns_network.N_BINS},
    blocks={"embedding": panns_network.N_BLOCKS},
    file_name="Cnn14_mAP=0.431.pth",
    web_file=WebFile(
        url="https://zenodo.org/records/3987831/files/Cnn14_mAP=0.431.pth?download=1",
        max_bytes=400_000_000,
        checksum="md5:541141fa2ee191a88f24a3219fff024e",
    ),
    requires=("torch",),
)


def load(file: Path, *, layer: str, device: str) -> "Callable[[np.ndarray], np.ndarray]":
    """The network on `device`: one frame for each window of 5 seconds.

    Raises:
        ProgramError: the file is damaged, or is another network.
    """
    del layer
    return panns_network.load_cnn14(file, device=device)


def load_block_input(
    file: Path, *, layer: str, n_blocks: int, device: str
) -> "Callable[[np.ndarray], np.ndarray]":
    """The input of the last blocks, on `device`."""
    del layer
    return panns_network.load_block_input(file, n_blocks=n_blocks, device=device)


def last_blocks(file: Path | None, *, layer: str, n_blocks: int) -> "nn.Module":
    """The last blocks: the dense layer, and convolutions before it."""
    from chorale.datasets.programs import panns_blocks

    del layer
    return panns_blocks.last_blocks(file, n_blocks=n_blocks)
