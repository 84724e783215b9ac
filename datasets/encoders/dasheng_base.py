"""Dasheng base: a transformer trained on sounds, speech and music without labels.

Source: Dinkel et al., "Scaling up masked audio encoder learning for general audio classification",
2024, https://arxiv.org/abs/2406.06992.
"""

from pathlib import Path

from chorale.datasets.base import EncoderInfo, WebFile
from chorale.datasets.programs import dasheng_network
from chorale.datasets.programs.windows import Windows

INFO = EncoderInfo(
    name="dasheng_base",
    title="Dasheng base (sounds of all kinds, speech, music)",
    trained_on="272,000 hours of sounds, speech and music (ACAV100M, AudioSet and two others)",
    code_licence="Apache-2.0 (Dasheng); Chorale has its own code",
    weights_licence="Apache-2.0",
    citation=(
        "Dinkel, Yan, Wang, Zhang, Wang, Wang: Scaling up masked audio encoder learning for "
        "general audio classification. Interspeech 2024"
    ),
    homepage="https://github.com/XiaoMi/dasheng",
    sample_rate=dasheng_network.SAMPLE_RATE,
    window_s=None,
    layers={"embedding": dasheng_network.N_BINS},
    file_name="dasheng_base.pt",
    web_file=WebFile(
        "https://zenodo.org/records/11511780/files/dasheng_base.pt?download=1",
        max_bytes=800_000_000,
    ),
    requires=("torch", "torchaudio"),
)


def load(file: Path, *, layer: str, device: str) -> Windows:
    """The network on `device`: five frames a second.

    Raises:
        ProgramError: the file is damaged, or is another network.
    """
    del layer
    return dasheng_network.load_dasheng(file, device=device)
