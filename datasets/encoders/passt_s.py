"""PaSST-S: a transformer that was trained to recognise the sounds of AudioSet; slow without a GPU.

Source: Koutini, Schlueter, Eghbal-zadeh and Widmer, "Efficient Training of Audio Transformers with
Patchout", 2022, https://arxiv.org/abs/2110.05069.
"""

from pathlib import Path

from chorale.datasets.base import EncoderInfo, WebFile
from chorale.datasets.programs import passt_network
from chorale.datasets.programs.kaldi_mel import SAMPLE_RATE
from chorale.datasets.programs.windows import Windows

INFO = EncoderInfo(
    name="passt_s",
    title="PaSST-S (sounds of all kinds; for a GPU)",
    trained_on="AudioSet: two million clips of videos with 527 kinds of sound, music and speech",
    code_licence="Apache-2.0 (PaSST); Chorale has its own code",
    weights_licence="Apache-2.0",
    citation=(
        "Koutini, Schlueter, Eghbal-zadeh, Widmer: Efficient Training of Audio Transformers with "
        "Patchout. Interspeech 2022"
    ),
    homepage="https://github.com/kkoutini/PaSST",
    sample_rate=SAMPLE_RATE,
    window_s=5.0,
    layers={"embedding": passt_network.N_BINS},
    file_name="passt-s-f128-p16-s10-ap.476-swa.pt",
    web_file=WebFile(
        "https://github.com/kkoutini/PaSST/releases/download/v0.0.1-audioset/"
        "passt-s-f128-p16-s10-ap.476-swa.pt",
        max_bytes=400_000_000,
        checksum="302903fa8c4aee817b11dc982da0b29aaf8d11a3e722420476d0a12c9db70c2c",
    ),
    requires=("torch",),
)


def load(file: Path, *, layer: str, device: str) -> Windows:
    """The network on `device`: one frame for each window of 5 seconds.

    Raises:
        ProgramError: the file is damaged, or is another network.
    """
    del layer
    return passt_network.load_passt(file, device=device)
