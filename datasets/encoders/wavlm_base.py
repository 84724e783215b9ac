"""WavLM base: HuBERT with relative positions, trained on noisy and overlapping speech.

Source: Chen et al., "WavLM: Large-Scale Self-Supervised Pre-Training for Full Stack Speech
Processing", 2022, https://arxiv.org/abs/2110.13900.
"""

from functools import partial
from pathlib import Path

from chorale.datasets.programs import waveform_transformer
from chorale.datasets.programs.windows import Windows

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


load_block_input = partial(waveform_transformer.load_block_input, bundle="WAVLM_BASE")
last_blocks = partial(waveform_transformer.last_blocks, bundle="WAVLM_BASE")
