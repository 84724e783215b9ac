"""CLAP of LAION, its audio tower: trained to match sounds with their descriptions.

Source: Wu et al., "Large-scale Contrastive Language-Audio Pretraining with Feature Fusion and
Keyword-to-Caption Augmentation", 2023, https://arxiv.org/abs/2211.06687.
"""

from pathlib import Path

from chorale.datasets.base import EncoderInfo, WebFile
from chorale.datasets.programs import clap_network
from chorale.datasets.programs.windows import Windows

_REVISION = "8fa0f1c6d0433df6e97c127f64b2a1d6c0dcda8a"

INFO = EncoderInfo(
    name="clap_htsat_unfused",
    title="CLAP HTSAT unfused (sounds and music with descriptions)",
    trained_on="sounds and music with their descriptions (LAION-Audio-630K and others)",
    code_licence="Apache-2.0 (transformers); Chorale has its own code",
    weights_licence="Apache-2.0",
    citation=(
        "Wu, Chen, Zhang, Hui, Berg-Kirkpatrick, Dubnov: Large-scale Contrastive Language-Audio "
        "Pretraining with Feature Fusion and Keyword-to-Caption Augmentation. ICASSP 2023"
    ),
    homepage="https://huggingface.co/laion/clap-htsat-unfused",
    sample_rate=clap_network.SAMPLE_RATE,
    window_s=clap_network.WINDOW_S,
    layers=clap_network.LAYERS,
    file_name="clap_htsat_unfused.safetensors",
    web_file=WebFile(
        f"https://huggingface.co/laion/clap-htsat-unfused/resolve/{_REVISION}/pytorch_model.bin",
        max_bytes=700_000_000,
        checksum="1cd3c601bc4afe0fa87be3de4c13dd2cfadd249fac1e29acf74a9b296c3219bb",
    ),
    requires=("torch",),
)


def convert(folder: Path) -> None:
    """Writes `INFO.file_name`, the audio tower, from the published file in `folder`."""
    clap_network.convert_published(folder / "pytorch_model.bin", folder / INFO.file_name)


def load(file: Path, *, layer: str, device: str) -> Windows:
    """The network on `device`: one frame for each window of 10 seconds.

    Raises:
        ProgramError: the file is damaged, or is another network.
    """
    return clap_network.load_clap(file, layer=layer, device=device)
