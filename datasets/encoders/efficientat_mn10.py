"""EfficientAT mn10: a small network that was trained to recognise the sounds of AudioSet.

Source: Schmid, Koutini and Widmer, "Efficient Large-scale Audio Tagging via Transformer-to-CNN
Knowledge Distillation", 2023, https://arxiv.org/abs/2211.04772.
"""

from pathlib import Path

from chorale.datasets.base import EncoderInfo, WebFile
from chorale.datasets.programs import mobilenet_audio
from chorale.datasets.programs.kaldi_mel import SAMPLE_RATE
from chorale.datasets.programs.windows import Windows

INFO = EncoderInfo(
    name="efficientat_mn10",
    title="EfficientAT mn10 (sounds of all kinds; small and quick)",
    trained_on="AudioSet: two million clips of videos with 527 kinds of sound, music and speech",
    code_licence="MIT (EfficientAT); Chorale has its own code",
    weights_licence="MIT",
    citation=(
        "Schmid, Koutini, Widmer: Efficient Large-scale Audio Tagging via Transformer-to-CNN "
        "Knowledge Distillation. ICASSP 2023"
    ),
    homepage="https://github.com/fschmid56/EfficientAT",
    sample_rate=SAMPLE_RATE,
    window_s=5.0,
    layers={"embedding": mobilenet_audio.N_BINS},
    file_name="mn10_as_mAP_471.pt",
    web_file=WebFile(
        "https://github.com/fschmid56/EfficientAT/releases/download/v0.0.1/mn10_as_mAP_471.pt",
        max_bytes=30_000_000,
        checksum="0bd7dc2443af498c289a2e739f02ebb515d6aa3fd3ab9db539c86123ae368a4e",
    ),
    requires=("torch",),
)


def load(file: Path, *, layer: str, device: str) -> Windows:
    """The network on `device`: one frame for each window of 5 seconds.

    Raises:
        ProgramError: the file is damaged, or is another network.
    """
    del layer
    return mobilenet_audio.load_mobilenet(file, device=device)
