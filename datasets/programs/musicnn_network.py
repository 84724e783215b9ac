"""The music tagger musicnn, from its TensorFlow checkpoint: layers as embeddings, in PyTorch.

A log-compressed mel spectrogram goes through convolutions that span much of the frequency axis
(timbral) or of the time axis (temporal), each with its maximum over frequency; then through three
residual convolutions over time. All four stages side by side, averaged and maximised over time, are
the layer "pooled"; a dense layer on it is "penultimate". The tags themselves are left out.

Source: Pons and Serra, "musicnn: pre-trained convolutional neural networks for music audio
tagging", 2019, https://arxiv.org/abs/1909.06654.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chorale.datasets.base import ALL_LAYERS, EncoderInfo, PackageFile
from chorale.datasets.dsp.mel_config import MelConfig
from chorale.datasets.programs.exported_program import ProgramError
from chorale.datasets.programs.tensorflow_checkpoint import read_checkpoint
from chorale.datasets.programs.windows import Windows, in_batches

if TYPE_CHECKING:
    from torch import Tensor, nn

Float32Array = npt.NDArray[np.float32]

SAMPLE_RATE, WINDOW_S = 16_000, 3.0
N_POOLED, N_PENULTIMATE = 753, 200
LAYERS: Mapping[str, int] = {"pooled": 2 * N_POOLED, "penultimate": N_PENULTIMATE}
"""Each layer's number of values; of "pooled" the first half is the mean over time, the second the
maximum."""

BLOCKS: Mapping[str, int] = {"pooled": 3, "penultimate": 4}
"""How many of the last blocks before each layer can be fine-tuned: the residual convolutions, and
the dense layer."""

INDEX_NAME, DATA_NAME = ".index", ".data-00000-of-00001"
"""The files of the checkpoint, as they are called in the package."""

MEL = MelConfig(sample_rate=SAMPLE_RATE, n_fft=512, hop_length=256, n_mels=96)

N_FRAMES = 187  # 3 s; the last frame, half of which is beyond the end, is not used
_MOST_WINDOWS = 2  # at a time, which bounds the memory
_LARGEST_SAMPLE = 1e6  # keeps the power of any finite waveform finite
_EPSILON = 1e-3  # of the batch normalisations

_TIMBRAL = ("timbral_38", "timbral_67")
_TEMPORAL = ("temporal_128", "temporal_64", "temporal_32")
RESIDUAL = ("residual_1", "residual_2", "residual_3")
_CONVOLUTIONS = (*_TIMBRAL, *_TEMPORAL, *RESIDUAL)

_SHAPES: Mapping[str, tuple[int, ...]] = {
    "timbral_38": (204, 1, 7, 38),
    "timbral_67": (204, 1, 7, 67),
    "temporal_128": (51, 1, 128, 1),
    "temporal_64": (51, 1, 64, 1),
    "temporal_32": (51, 1, 32, 1),
    "residual_1": (64, 561, 7),
    "residual_2": (64, 64, 7),
    "residual_3": (64, 64, 7),
    "dense": (N_PENULTIMATE, 2 * N_POOLED),
}
"""The weights of each layer: output channels, input channels, time, frequency."""
_NORMALISED: Mapping[str, int] = {
    "input": 1,
    **{name: _SHAPES[name][0] for name in _CONVOLUTIONS},
    "pooled": 2 * N_POOLED,
    "dense": N_PENULTIMATE,
}
"""The number of channels of each batch normalisation, in the checkpoint's order."""


def musicnn_info(
    name: str, *, title: str, trained_on: str, folder: str, index_sha256: str, data_sha256: str
) -> EncoderInfo:
    """The metadata of one of the package's networks; its checkpoint is in `folder` of the wheel."""
    files = {INDEX_NAME: index_sha256, DATA_NAME: data_sha256}
    return EncoderInfo(
        name=name,
        title=title,
        trained_on=trained_on,
        code_licence="ISC",
        weights_licence="ISC",
        citation=(
            "Pons and Serra, musicnn: pre-trained convolutional neural networks for music audio "
            "tagging, 2019, https://arxiv.org/abs/1909.06654"
        ),
        homepage="https://github.com/jordipons/musicnn",
        sample_rate=SAMPLE_RATE,
        window_s=WINDOW_S,
        layers=LAYERS,
        blocks=BLOCKS,
        file_name=f"{name}.safetensors",
        weights=tuple(
            PackageFile("musicnn", "0.1.0", f"musicnn/{folder}/{member}", sha256)
            for member, sha256 in files.items()
        ),
    )


def convert_checkpoint(folder: Path, file_name: str) -> None:
    """Writes the weights of the checkpoint in `folder` to `folder / file_name`, as safetensors.

    Each batch normalisation becomes a factor and an addend, `scale` and `shift`.

    Raises:
        ProgramError: it is damaged, or of another network.
    """
    from safetensors.numpy import save_file

    read = read_checkpoint(folder / INDEX_NAME, folder / DATA_NAME)
    made: dict[str, Float32Array] = {}
    for i, name in enumerate(_CONVOLUTIONS):
        at = _numbered("conv2d", i)
        kernel = _tensor(read, f"{at}/kernel")  # (time, frequency, in, out)
        if kernel.ndim != 4:
            raise ProgramError(f"has a convolution of the shape {kernel.shape}")
        if name in RESIDUAL:  # these have their channels on the frequency axis
            made[f"{name}.weight"] = kernel[:, :, 0].transpose(2, 1, 0)
        else:
            made[f"{name}.weight"] = kernel.transpose(3, 2, 0, 1)
        made[f"{name}.bias"] = _tensor(read, f"{at}/bias")
    made["dense.weight"] = _side_by_side(_tensor(read, "dense/kernel")).T
    made["dense.bias"] = _tensor(read, "dense/bias")
    for i, name in enumerate(_NORMALISED):
        parts = ("gamma", "beta", "moving_mean", "moving_variance")
        at = _numbered("batch_normalization", i)
        gamma, beta, mean, variance = (_tensor(read, f"{at}/{part}") for part in parts)
        scale = gamma / np.sqrt(variance.astype(np.float64) + _EPSILON)
        shift = beta - mean * scale
        for part, values in (("scale", scale), ("shift", shift)):
            own = _side_by_side(values) if name == "pooled" else values
            made[f"{name}.{part}"] = own.astype(np.float32)
    _require_shapes({name: values.shape for name, values in made.items()})
    save_file({name: np.ascontiguousarray(v) for name, v in made.items()}, folder / file_name)


def load_musicnn(file: Path, *, layer: str, device: str) -> Windows:
    """The network as a function from float32 `(n_windows, n_samples)` to `(n_windows, 1, n_bins)`.

    Args:
        file: what `convert_checkpoint` wrote.
        layer: one of `LAYERS`, or `ALL_LAYERS`.
        device: "cpu" or "cuda".

    Raises:
        ProgramError: the file is damaged, or of another network.
    """
    import torch

    weights, filters = _on_device(file, device)
    wanted = tuple(LAYERS) if layer == ALL_LAYERS else (layer,)

    def embed(waveform: "Tensor") -> "Tensor":
        pooled = _pooled(torch.cat(_stages(waveform, weights, filters), 1))
        made = {"pooled": pooled}
        if "penultimate" in wanted:
            made["penultimate"] = _dense(pooled, weights)
        return torch.cat([made[name] for name in wanted], dim=1)

    return in_batches(embed, device, n_windows=_MOST_WINDOWS)


def load_block_input(file: Path, *, layer: str, n_blocks: int, device: str) -> Windows:
    """The input of the last blocks, float32 `(n_windows, n_frames, n_bins)`.

    Before the dense layer there is one frame a window, elsewhere one for each of the spectrogram.

    Args:
        file: what `convert_checkpoint` wrote.
        layer: one of `BLOCKS`.
        n_blocks: from 1 to `BLOCKS[layer]`.
        device: "cpu" or "cuda".

    Raises:
        ProgramError: the file is damaged, or of another network.
    """
    import torch

    weights, filters = _on_device(file, device)
    first = first_block(layer, n_blocks)

    def embed(waveform: "Tensor") -> "Tensor":
        stages = torch.cat(_stages(waveform, weights, filters, n_residual=first), 1)
        return _pooled(stages) if first == len(RESIDUAL) else stages.transpose(1, 2)

    return in_batches(embed, device, n_windows=_MOST_WINDOWS)


def last_blocks(file: Path | None, *, layer: str, n_blocks: int) -> "nn.Module":
    """The last blocks as modules that can be trained (see `musicnn_blocks.last_blocks`)."""
    from chorale.datasets.programs import musicnn_blocks

    return musicnn_blocks.last_blocks(file, layer=layer, n_blocks=n_blocks)


def first_block(layer: str, n_blocks: int) -> int:
    """The place of the first of the last `n_blocks` before a layer among all that can be trained.

    These are the `RESIDUAL` convolutions, and after them, before "penultimate", the dense layer.
    """
    return BLOCKS[layer] - n_blocks


def read_musicnn(file: Path) -> "dict[str, Tensor]":
    """The tensors of what `convert_checkpoint` wrote.

    Raises:
        ProgramError: it is damaged, or of another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights: dict[str, Tensor] = load_file(file)
    except (SafetensorError, OSError, ValueError) as error:
        raise ProgramError(f"is damaged ({error})") from None
    _require_shapes({name: tuple(values.shape) for name, values in weights.items()})
    return weights


def _on_device(file: Path, device: str) -> "tuple[dict[str, Tensor], Tensor]":
    """The weights, and the mel filters."""
    import torch

    from chorale.datasets.dsp.mel_spectrogram import mel_filters

    weights = {name: one.to(device, torch.float32) for name, one in read_musicnn(file).items()}
    return weights, torch.tensor(mel_filters(MEL), device=device)


def _normalised(name: str, values: "Tensor", weights: "Mapping[str, Tensor]") -> "Tensor":
    """Scales the channels, on the second axis of `values`."""
    import torch

    shape = (1, -1) + (1,) * (values.ndim - 2)
    scale, shift = weights[f"{name}.scale"], weights[f"{name}.shift"]
    return torch.addcmul(shift.view(shape), values, scale.view(shape))


def _stages(
    waveform: "Tensor",
    weights: "Mapping[str, Tensor]",
    filters: "Tensor",
    *,
    n_residual: int = len(RESIDUAL),
) -> "list[Tensor]":
    """`(n_windows, n_samples)` -> the first stages, each `(n_windows, n_channels, n_frames)`."""
    import torch
    from torch.nn import functional as F

    def convolved(name: str, values: "Tensor", before: int, after: int) -> "Tensor":
        """Convolves along time, which is padded, and frequency, if there is any; rectifies."""
        convolve: Any = F.conv2d if values.ndim == 4 else F.conv1d
        padded = F.pad(values, (*(0, 0) * (values.ndim - 3), before, after))
        out: Tensor = convolve(padded, weights[f"{name}.weight"], weights[f"{name}.bias"])
        return out.relu_()

    mel = _normalised("input", _log_mel(waveform, filters)[:, None], weights)
    fronts = []
    for name in (*_TIMBRAL, *_TEMPORAL):
        length = _SHAPES[name][2]
        least, most = torch.aminmax(convolved(name, mel, (length - 1) // 2, length // 2), dim=3)
        # the maximum of what is normalised, which is the minimum where the factor is negative
        up = weights[f"{name}.scale"][:, None] >= 0
        fronts.append(_normalised(name, torch.where(up, most, least), weights))
    stages = [torch.cat(fronts, 1)]
    for name in RESIDUAL[:n_residual]:
        made = _normalised(name, convolved(name, stages[-1], 3, 3), weights)
        stages.append(made + stages[-1] if len(stages) > 1 else made)
    return stages


def _pooled(features: "Tensor") -> "Tensor":
    """All stages `(n_windows, n_channels, n_frames)` -> `(n_windows, 2 * n_channels)`."""
    import torch

    return torch.cat([features.mean(2), features.amax(2)], 1)


def _dense(pooled: "Tensor", weights: "Mapping[str, Tensor]") -> "Tensor":
    """`(n_windows, 2 * N_POOLED)` -> `(n_windows, N_PENULTIMATE)`."""
    from torch.nn import functional as F

    made = F.linear(
        _normalised("pooled", pooled, weights), weights["dense.weight"], weights["dense.bias"]
    )
    return _normalised("dense", made.relu(), weights)


def _log_mel(waveform: "Tensor", filters: "Tensor") -> "Tensor":
    """`(n_windows, n_samples)` -> compressed mel spectrogram `(n_windows, n_frames, n_mels)`."""
    import torch

    spectrum = torch.stft(
        waveform.clamp(-_LARGEST_SAMPLE, _LARGEST_SAMPLE),
        MEL.n_fft,
        MEL.hop_length,
        window=torch.hann_window(MEL.n_fft, device=waveform.device),
        center=True,
        pad_mode="constant",
        return_complex=True,
    )
    power = spectrum.real.square() + spectrum.imag.square()
    mel = torch.einsum("bft,mf->btm", power[:, :, :N_FRAMES], filters)
    return torch.log10(10_000 * mel + 1)


def _side_by_side(pairs: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Rows in the checkpoint's order (maximum, mean, maximum, ...) -> all means, all maxima."""
    if len(pairs) != 2 * N_POOLED:
        raise ProgramError(f"has {len(pairs)} values before its dense layer, not {2 * N_POOLED}")
    return np.concatenate([pairs[1::2], pairs[0::2]])


def _numbered(name: str, i: int) -> str:
    return f"{name}_{i}" if i else name


def _tensor(read: Mapping[str, npt.NDArray[Any]], name: str) -> Float32Array:
    if name not in read or read[name].dtype != np.float32:
        raise ProgramError(f"has no float32 tensor '{name}', so it is no musicnn")
    return read[name]


def _require_shapes(found: Mapping[str, tuple[int, ...]]) -> None:
    wanted = {f"{name}.weight": shape for name, shape in _SHAPES.items()}
    wanted |= {f"{name}.bias": shape[:1] for name, shape in _SHAPES.items()}
    wanted |= {f"{name}.{part}": (n,) for name, n in _NORMALISED.items() for part in _PARTS}
    if dict(found) != wanted:
        odd = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
        raise ProgramError(f"is no musicnn (it differs in '{odd[0]:.80}')")


_PARTS = ("scale", "shift")
