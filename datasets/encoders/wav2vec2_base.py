"""wav2vec 2.0 base, trained on speech without labels.

Source: Baevski et al., "wav2vec 2.0: A Framework for Self-Supervised Learning of Speech
Representations", 2020, https://arxiv.org/abs/2006.11477.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from chorale.datasets.programs import waveform_transformer
from chorale.datasets.programs.windows import Windows

if TYPE_CHECKING:
    from torch import nn

INFO = waveform_transformer.torchaudio_info(
    "wav2vec2_base",
    title="wav2vec 2.0 base (speech)",
    file_name="wav2vec2_fairseq_base_ls960.pth",
    trained_on="960 hours of English speech (LibriSpeech), without labels",
    citation=(
        "Baevski, Zhou, Mohamed, Auli: wav2vec 2.0: A Framework for Self-Supervised Learning of "
        "Speech Representations. NeurIPS 2020"
    ),
    homepage="https://github.com/facebookresearch/fairseq/tree/main/examples/wav2vec",
)


def load(file: Path, *, layer: str, device: str) -> Windows:
    """The network on `device`: five frames a second.

    Raises:
        ProgramError: the file is damaged, or is another network.
    """
    return waveform_transformer.load_layers(
        file, bundle="WAV2VEC2_BASE", layer=layer, device=device
    )


def load_block_input(file: Path, *, layer: str, n_blocks: int, device: str) -> Windows:
    """The input of the last transformer layers up to one, on `device`."""
    return waveform_transformer.load_block_input(
        file, bundle="WAV2VEC2_BASE", layer=layer, n_blocks=n_blocks, device=device
    )


def last_blocks(file: Path | None, *, layer: str, n_blocks: int) -> "nn.Module":
    """The last transformer layers up to one."""
    from chorale.datasets.programs import network_weights, transformer_blocks

    return transformer_blocks.last_blocks(
        None if file is None else network_weights.read_weights(file),
        bundle="WAV2VEC2_BASE",
        layer=layer,
        n_blocks=n_blocks,
        sample_rate=INFO.sample_rate,
    )
