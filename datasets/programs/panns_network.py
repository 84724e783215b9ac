"""CNN14 of PANNs in PyTorch, from the checkpoint of its authors: the embedding of a window.

A log-mel spectrogram (64 bands, 50 Hz to 14 kHz, 100 frames a second), six blocks of two
convolutions, the maximum plus the mean over time, a dense layer. The classifier of AudioSet's
labels is left out.

Source: Kong et al., "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern
Recognition", 2020, https://arxiv.org/abs/1912.10211.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from chorale.datasets.programs.network_weights import read_weights, used_weights
from chorale.datasets.programs.windows import Windows, in_batches

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE = 32_000
N_BINS = 2_048
WIDTHS = (64, 128, 256, 512, 1_024, 2_048)
"""Channels of each block; all but the last halve time and frequency."""

N_FFT, HOP, N_MELS = 1_024, 320, 64
MIN_POWER = 1e-10
"""Of a mel band, before the logarithm."""

BATCH_NORM_EPSILON = 1e-5

N_BLOCKS = len(WIDTHS)
"""How many of the last blocks can be fine-tuned: the dense layer, and all convolutions but the
first."""

_MOST_WINDOWS = 2  # at a time, which bounds the memory


def load_cnn14(file: Path, *, device: str) -> Windows:
    """The network as a function from float32 `(n_windows, n_samples)` to `(n_windows, 1, 2048)`.

    Args:
        file: the checkpoint, read without unpickling anything but tensors.
        device: "cpu" or "cuda".

    Raises:
        ProgramError: the file is damaged, or of another network.
    """
    weights = {name: one.to(device) for name, one in read_cnn14(file).items()}

    def embed(waveform: "Tensor") -> "Tensor":
        return _dense(_pooled(_convolved(_log_mel(waveform, weights), weights)), weights)

    return in_batches(embed, device, n_windows=_MOST_WINDOWS)


def load_block_input(file: Path, *, n_blocks: int, device: str) -> Windows:
    """The input of the last blocks, float32 `(n_windows, n_frames, n_bins)`.

    Before the dense layer it is one frame a window; before a convolution, the bins of a frame are
    its channels, each with what is left of the frequency axis.

    Args:
        file: the checkpoint.
        n_blocks: from 1 to `N_BLOCKS`.
        device: "cpu" or "cuda".

    Raises:
        ProgramError: the file is damaged, or of another network.
    """
    weights = {name: one.to(device) for name, one in read_cnn14(file).items()}
    first = first_block(n_blocks)

    def embed(waveform: "Tensor") -> "Tensor":
        x = _convolved(_log_mel(waveform, weights), weights, until=first)
        # (n_windows, n_channels, n_frames, n_frequencies)
        return _pooled(x) if first == len(WIDTHS) else x.transpose(1, 2).flatten(2)

    return in_batches(embed, device, n_windows=_MOST_WINDOWS)


def read_cnn14(file: Path) -> "dict[str, Tensor]":
    """The tensors of the checkpoint that are used.

    Raises:
        ProgramError: it is damaged, or of another network.
    """
    return used_weights(read_weights(file, under="model"), expected_shapes(), network="CNN14")


def first_block(n_blocks: int) -> int:
    """The place of the first of the last `n_blocks` among the convolutions and the dense layer."""
    return len(WIDTHS) + 1 - n_blocks


def expected_shapes() -> Mapping[str, tuple[int, ...]]:
    """The tensors of the checkpoint that are used, by name."""
    shapes: dict[str, tuple[int, ...]] = {"logmel_extractor.melW": (N_FFT // 2 + 1, N_MELS)}
    shapes |= _norm_shapes("bn0", N_MELS)
    before = 1
    for number, width in enumerate(WIDTHS, 1):
        block = f"conv_block{number}"
        shapes |= {
            f"{block}.conv1.weight": (width, before, 3, 3),
            f"{block}.conv2.weight": (width, width, 3, 3),
            **_norm_shapes(f"{block}.bn1", width),
            **_norm_shapes(f"{block}.bn2", width),
        }
        before = width
    return {**shapes, "fc1.weight": (N_BINS, WIDTHS[-1]), "fc1.bias": (N_BINS,)}


def _norm_shapes(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {
        f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")
    }


def _norm(x: "Tensor", name: str, weights: "Mapping[str, Tensor]") -> "Tensor":
    from torch.nn import functional as F

    parts = ("running_mean", "running_var", "weight", "bias")
    mean, variance, weight, bias = (weights[f"{name}.{part}"] for part in parts)
    return F.batch_norm(x, mean, variance, weight, bias, eps=BATCH_NORM_EPSILON)


def _log_mel(waveform: "Tensor", weights: "Mapping[str, Tensor]") -> "Tensor":
    """`(n_windows, n_samples)` -> normalised decibels `(n_windows, 1, n_frames, 64)`."""
    import torch

    spectrum = torch.stft(
        waveform,
        N_FFT,
        HOP,
        window=torch.hann_window(N_FFT, device=waveform.device),
        pad_mode="reflect",
        return_complex=True,
    )  # (n_windows, 513, n_frames)
    power = spectrum.abs().square().transpose(1, 2) @ weights["logmel_extractor.melW"]
    decibels = 10 * power.clamp(min=MIN_POWER).log10()  # (n_windows, n_frames, 64)
    return _norm(decibels.transpose(1, 2), "bn0", weights).transpose(1, 2)[:, None]


def _convolved(
    x: "Tensor", weights: "Mapping[str, Tensor]", *, until: int = len(WIDTHS)
) -> "Tensor":
    """The first `until` convolutions."""
    from torch.nn import functional as F

    for number in range(1, until + 1):
        block = f"conv_block{number}"
        for layer in (1, 2):
            x = F.conv2d(x, weights[f"{block}.conv{layer}.weight"], padding=1)
            x = F.relu(_norm(x, f"{block}.bn{layer}", weights))
        x = F.avg_pool2d(x, 2) if number < len(WIDTHS) else x
    return x


def _pooled(x: "Tensor") -> "Tensor":
    """`(n_windows, 2048, n_frames, n_frequencies)` -> `(n_windows, 2048)`."""
    over_time = x.mean(dim=3)
    return over_time.amax(dim=2) + over_time.mean(dim=2)


def _dense(pooled: "Tensor", weights: "Mapping[str, Tensor]") -> "Tensor":
    """`(n_windows, 2048)` -> `(n_windows, 2048)`."""
    from torch.nn import functional as F

    return F.relu(F.linear(pooled, weights["fc1.weight"], weights["fc1.bias"]))
