"""wav2vec 2.0, HuBERT and WavLM of the base size: layers as embeddings, averaged over 0.2 s.

A convolutional network reads the waveform, 320 samples a frame; twelve transformer layers follow.
Which layer suits depends on the task: early ones know the speaker, those in the middle phones, and
the last ones are specialised in the training task. Layers above the last one wanted are not
computed.

Source: Baevski et al., "wav2vec 2.0: A Framework for Self-Supervised Learning of Speech
Representations", 2020, https://arxiv.org/abs/2006.11477; which layer knows what: Pasad, Chou and
Livescu, "Layer-wise Analysis of a Self-supervised Speech Representation Model", 2021,
https://arxiv.org/abs/2107.04734. The networks are those of torchaudio.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chorale.datasets.base import ALL_LAYERS, EncoderInfo, WebFile
from chorale.datasets.programs.network_weights import read_weights
from chorale.datasets.programs.pipelines import pipeline_network
from chorale.datasets.programs.windows import Windows, on_windows

if TYPE_CHECKING:
    from torch import nn

LAYERS: Mapping[str, int] = {"layer_6": 768, "layer_3": 768, "layer_9": 768, "layer_12": 768}
"""The outputs, counted from 1, with their numbers of values; the preferred one first: the middle,
which needs about 2/3 of the time of the last."""

BLOCKS: Mapping[str, int] = {name: int(name.removeprefix("layer_")) - 1 for name in LAYERS}
"""How many of the transformer layers up to each output can be fine-tuned: all but the first."""

SAMPLE_RATE = 16_000
"""Hz, of torchaudio's pipelines of the base size."""

SAMPLES_PER_FRAME = 320
"""The product of the strides of the convolutions."""

AVERAGED_S = 0.2
"""Seconds over which frames are averaged, so that the cache is small."""

_URL = "https://download.pytorch.org/torchaudio/models/"
_MAX_BYTES = 500_000_000


def torchaudio_info(
    name: str, *, title: str, file_name: str, trained_on: str, citation: str, homepage: str
) -> EncoderInfo:
    """The metadata of a pipeline of torchaudio for speech, at 16 kHz."""
    return EncoderInfo(
        name=name,
        title=title,
        trained_on=trained_on,
        code_licence="BSD-2-Clause (torchaudio)",
        weights_licence="MIT",
        citation=citation,
        homepage=homepage,
        sample_rate=SAMPLE_RATE,
        window_s=None,
        layers=LAYERS,
        blocks=BLOCKS,
        file_name=file_name,
        web_file=WebFile(_URL + file_name, max_bytes=_MAX_BYTES),
        requires=("torch", "torchaudio"),
    )


def load_layers(file: Path, *, bundle: str, layer: str, device: str) -> Windows:
    """The network of a pipeline of torchaudio as a function on windows.

    Args:
        file: its weights, as torchaudio publishes them.
        bundle: a name in `torchaudio.pipelines`, of the base size, at 16 kHz.
        layer: one of `LAYERS`, or `ALL_LAYERS`.
        device: "cpu" or "cuda".

    Raises:
        ProgramError: the file is damaged, or holds other weights.
    """
    network = pipeline_network(bundle, read_weights(file), device=device)
    return on_windows(averaged_layers(network, layer, sample_rate=SAMPLE_RATE), device)


def averaged_layers(network: Any, layer: str, *, sample_rate: int) -> Any:
    """A function from `(1, n_samples)` to `(1, n_frames, n_bins)`, averaged over `AVERAGED_S`.

    The last frame is the mean of those that are left.
    """
    import torch

    wanted = [layer_number(name) for name in LAYERS if layer in (name, ALL_LAYERS)]
    n = frames_averaged(sample_rate)

    def encode(waveform: Any) -> Any:
        outputs, _ = network.extract_features(waveform, num_layers=max(wanted))
        side_by_side = torch.cat([outputs[number - 1] for number in wanted], dim=2)
        return torch.nn.functional.avg_pool1d(
            side_by_side.transpose(1, 2), n, ceil_mode=True
        ).transpose(1, 2)

    return encode


def load_block_input(file: Path, *, bundle: str, layer: str, n_blocks: int, device: str) -> Windows:
    """The input of the last layers as a function on windows, with a frame for 320 samples.

    Args:
        file: as `load_layers`.
        bundle: likewise.
        layer: one of `LAYERS`.
        n_blocks: from 1 to `BLOCKS[layer]`.
        device: "cpu" or "cuda".

    Raises:
        ProgramError: the file is damaged, or holds other weights.
    """
    network = pipeline_network(bundle, read_weights(file), device=device)
    return on_windows(layer_output(network, layer_number(layer) - n_blocks), device)


def last_blocks(file: Path | None, *, bundle: str, layer: str, n_blocks: int) -> "nn.Module":
    """The last layers as modules that can be trained; with any weights where `file` is None.

    The other arguments and errors are those of `load_block_input`.
    """
    from chorale.datasets.programs import transformer_blocks

    return transformer_blocks.last_blocks(
        None if file is None else read_weights(file),
        bundle=bundle,
        layer=layer,
        n_blocks=n_blocks,
        sample_rate=SAMPLE_RATE,
    )


def layer_output(network: Any, number: int) -> Any:
    """A function from `(1, n_samples)` to a layer's output `(1, n_frames, n_bins)`."""

    def encode(waveform: Any) -> Any:
        return network.extract_features(waveform, num_layers=number)[0][-1]

    return encode


def layer_number(layer: str) -> int:
    """The number of a layer, counted from 1."""
    return int(layer.removeprefix("layer_"))


def frames_averaged(sample_rate: int) -> int:
    """How many frames are averaged into one."""
    return round(AVERAGED_S * sample_rate / SAMPLES_PER_FRAME)
