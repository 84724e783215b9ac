"""HuBERT base, trained on speech without labels to predict clusters of frames.

Source: Hsu et al., "HuBERT: Self-Supervised Speech Representation Learning by Masked Prediction of
Hidden Units", 2021, https://arxiv.org/abs/2106.07447.
"""

from functools import partial
from pathlib import Path

from chorale.datasets.programs import waveform_transformer
from chorale.datasets.programs.windows import Windows

INFO = waveform_transformer.torchaudio_info(
    "hubert_base",
    title="HuBERT base (speech)",
    file_name="hubert_fairseq_base_ls960.pth",
    trained_on="960 hours of English speech (LibriSpeech), without labels",
    citation=(
        "Hsu, Bolte, Tsai, Lakhotia, Salakhutdinov, Mohamed: HuBERT: Self-Supervised Speech "
        "Representation Learning by Masked Prediction of Hidden Units. IEEE/ACM Transactions on "
        "Audio, Speech, and Language Processing 29, 2021"
    ),
    homepage="https://github.com/facebookresearch/fairseq/tree/main/examples/hubert",
)


def load(file: Path, *, layer: str, device: str) -> Windows:
    """The network on `device`: five frames a second.

    Raises:
        ProgramError: the file is damaged, or is another network.
    """
    return waveform_transformer.load_layers(file, bundle="HUBERT_BASE", layer=layer, device=device)


load_block_input = partial(waveform_transformer.load_block_input, bundle="HUBERT_BASE")
last_blocks = partial(waveform_transformer.last_blocks, bundle="HUBERT_BASE")
