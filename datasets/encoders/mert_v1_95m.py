"""MERT-v1-95M: a network of HuBERT's form, trained on music without labels.

Its input is normalized to mean 0 and variance 1, as its publishers do.

Source: Li et al., "MERT: Acoustic Music Understanding Model with Large-Scale Self-supervised
Training", 2024, https://arxiv.org/abs/2306.00107.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chorale.datasets.base import EncoderInfo, WebFile
from chorale.datasets.programs import waveform_transformer
from chorale.datasets.programs.network_weights import read_weights
from chorale.datasets.programs.pipelines import pipeline_network
from chorale.datasets.programs.windows import Windows, on_windows

if TYPE_CHECKING:
    from torch import nn

_REVISION = "12af15fef9d0ac838c3f475bfbbf26d2060dd4f5"

INFO = EncoderInfo(
    name="mert_v1_95m",
    title="MERT-v1-95M (music)",
    trained_on="recordings of music, without labels",
    code_licence="BSD-2-Clause (torchaudio, whose network Chorale runs)",
    weights_licence="CC BY-NC 4.0 (no commercial use)",
    citation=(
        "Li, Yuan, Zhang, Ma, et al.: MERT: Acoustic Music Understanding Model with Large-Scale "
        "Self-supervised Training. ICLR 2024"
    ),
    homepage="https://huggingface.co/m-a-p/MERT-v1-95M",
    sample_rate=24_000,
    window_s=None,
    layers=waveform_transformer.LAYERS,
    blocks=waveform_transformer.BLOCKS,
    file_name="pytorch_model.bin",
    web_file=WebFile(
        f"https://huggingface.co/m-a-p/MERT-v1-95M/resolve/{_REVISION}/pytorch_model.bin",
        max_bytes=400_000_000,
        checksum="a2b8b747f72c06e0595aeae41ae5473f4364938c6b39b2c58be38c48e6bd3fcd",
    ),
    requires=("torch", "torchaudio"),
    must_accept=True,
)

_VARIANCE_EPSILON = 1e-7
_BUNDLE = "HUBERT_BASE"


def load(file: Path, *, layer: str, device: str) -> Windows:
    """The network on `device`: five frames a second.

    Raises:
        ProgramError: the file is damaged, or is another network.
    """
    network = pipeline_network(_BUNDLE, torchaudio_names(read_weights(file)), device=device)
    encode = waveform_transformer.averaged_layers(network, layer, sample_rate=INFO.sample_rate)
    return on_windows(_normalized(encode), device)


def load_block_input(file: Path, *, layer: str, n_blocks: int, device: str) -> Windows:
    """The input of the last transformer layers up to one, on `device`."""
    network = pipeline_network(_BUNDLE, torchaudio_names(read_weights(file)), device=device)
    number = waveform_transformer.layer_number(layer) - n_blocks
    return on_windows(_normalized(waveform_transformer.layer_output(network, number)), device)


def last_blocks(file: Path | None, *, layer: str, n_blocks: int) -> "nn.Module":
    """The last transformer layers up to one."""
    from chorale.datasets.programs import transformer_blocks

    return transformer_blocks.last_blocks(
        None if file is None else torchaudio_names(read_weights(file)),
        bundle=_BUNDLE,
        layer=layer,
        n_blocks=n_blocks,
        sample_rate=INFO.sample_rate,
    )


def _normalized(encode: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`encode` of waveforms of mean 0 and variance 1."""

    def run(waveform: Any) -> Any:
        variance = waveform.var(dim=1, correction=0, keepdim=True)
        centred = waveform - waveform.mean(dim=1, keepdim=True)
        return encode(centred / (variance + _VARIANCE_EPSILON).sqrt())

    return run


def torchaudio_names(weights: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors of a HuBERT of transformers by the names that they have in torchaudio."""
    inner = {"encoder": "encoder.transformer", "feature_projection": "encoder.feature_projection"}
    renamed = {}
    for name, tensor in weights.items():
        first, dot, rest = name.partition(".")
        if first != "masked_spec_embed":  # of its training
            renamed[f"{inner.get(first, first)}{dot}{rest}"] = tensor
    return renamed
