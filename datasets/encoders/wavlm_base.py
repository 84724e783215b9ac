"""WavLM base: HuBERT with relative positions, trained on noisy and overlapping speech.

Source: Chen et al., "WavLM: Large-Scale Self-Supervised Pre-Training for Full Stack Speech
Processing", 2022, https://arxiv.org/abs/2110.13900.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from chorale.datasets.programs import waveform_transformer
from chorale.datasets.programs.windows import Windows

if TYPE_CHECKING:
    from torch import nn

INFO = waveform_transformer.torchaudio_info(
    "wavlm_base",
    title="WavLM base (speech, speakers)",
    file_name="wavlm_base.pth",
    trained_on=(
        "960 hours of English speech (LibriSpeech), without labels, partly mixed with noise and "
        "other speakers"
    ),
    citation=(
        "Chen, Wang, Chen, Wu, et al.: WavLM: Large-Scale Self-Supervised Pre-Training for Full "
        "Stack Speech Processing. IEEE Journal of Selected Topics in Signal Processing 16, 2022"
    ),
    homepage="https://github.com/microsoft/unilm/tree/master/wavlm",
)


def load(file: Path, *, layer: str, device: str) -> Windows:
    """The network on `device`: five frames a second.

    Raises:
        ProgramError: the file is damaged, or is another network.
    """
    return waveform_transformer.load_layers(file, bundle="WAVLM_BASE", layer=layer, device=device)


def load_block_input(file: Path, *, layer: str, n_blocks: int, device: str) -> Windows:
    """The input of the last transformer layers up to one, on `device`."""
    return waveform_transformer.load_block_input(
        file, bundle="WAVLM_BASE", layer=layer, n_blocks=n_blocks, device=device
    )


def last_blocks(file: Path | None, *, layer: str, n_blocks: int) -> "nn.Module":
    """The last transformer layers up to one."""
    from chorale.datasets.programs import network_weights, transformer_blocks

    return transformer_blocks.last_blocks(
        None if file is None else network_weights.read_weights(file),
        bundle="WAVLM_BASE",
        layer=layer,
        n_blocks=n_blocks,
        sample_rate=INFO.sample_rate,
    )
