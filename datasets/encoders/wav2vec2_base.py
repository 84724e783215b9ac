"""wav2vec 2.0 base, trained on speech without labels.

Source: Baevski et al., "wav2vec 2.0: A Framework for Self-Supervised Learning of Speech
Representations", 2020, https://arxiv.org/abs/2006.11477.
"""

from functools import partial
from pathlib import Path

from chorale.datasets.programs import waveform_transformer
from chorale.datasets.programs.windows import Windows

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


load_block_input = partial(waveform_transformer.load_block_input, bundle="WAV2VEC2_BASE")
last_blocks = partial(waveform_transformer.last_blocks, bundle="WAV2VEC2_BASE")
