"""MobileNetV3 on mel spectrograms, as EfficientAT trained it, in PyTorch.

A log-mel spectrogram (see `kaldi_mel`), fifteen blocks of depthwise convolutions, some of them with
squeeze-and-excitation, one more convolution, the mean over frequency and time. The classifier of
AudioSet's labels is left out.

Source: Schmid, Koutini and Widmer, "Efficient Large-scale Audio Tagging via Transformer-to-CNN
Knowledge Distillation", 2023, https://arxiv.org/abs/2211.04772; Howard et al., "Searching for
MobileNetV3", 2019, https://arxiv.org/abs/1905.02244.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chorale.datasets.programs.kaldi_mel import kaldi_filters, log_mel
from chorale.datasets.programs.network_weights import read_weights, used_weights
from chorale.datasets.programs.windows import Windows, in_batches

if TYPE_CHECKING:
    from torch import Tensor

N_BINS = 960
BATCH_NORM_EPSILON = 1e-3

_MOST_WINDOWS = 4  # at a time, which bounds the memory


@dataclass(frozen=True)
class BlockSizes:
    """One inverted residual block: the sizes of its three convolutions."""

    n_in: int
    kernel: int
    n_wide: int
    n_out: int
    squeezes: bool
    hard_swish: bool
    stride: int


FIRST_WIDTH = 16
BLOCKS = (
    BlockSizes(16, 3, 16, 16, False, False, 1),
    BlockSizes(16, 3, 64, 24, False, False, 2),
    BlockSizes(24, 3, 72, 24, False, False, 1),
    BlockSizes(24, 5, 72, 40, True, False, 2),
    BlockSizes(40, 5, 120, 40, True, False, 1),
    BlockSizes(40, 5, 120, 40, True, False, 1),
    BlockSizes(40, 3, 240, 80, False, True, 2),
    BlockSizes(80, 3, 200, 80, False, True, 1),
    BlockSizes(80, 3, 184, 80, False, True, 1),
    BlockSizes(80, 3, 184, 80, False, True, 1),
    BlockSizes(80, 3, 480, 112, True, True, 1),
    BlockSizes(112, 3, 672, 112, True, True, 1),
    BlockSizes(112, 5, 672, 160, True, True, 2),
    BlockSizes(160, 5, 960, 160, True, True, 1),
    BlockSizes(160, 5, 960, 160, True, True, 1),
)
"""The table of MobileNetV3-Large."""


def load_mobilenet(file: Path, *, device: str) -> Windows:
    """The network as a function from float32 `(n_windows, n_samples)` to `(n_windows, 1, 960)`.

    Args:
        file: the tensors that the authors publish, read without unpickling anything else.
        device: "cpu" or "cuda".

    Raises:
        ProgramError: the file is damaged, or of another network.
    """
    import torch

    used = used_weights(read_weights(file), expected_shapes(), network="mn10")
    weights = {name: one.to(device).float() for name, one in used.items()}
    filters = torch.from_numpy(kaldi_filters()).to(device)
    return in_batches(
        lambda waveform: _embed(waveform, weights, filters), device, n_windows=_MOST_WINDOWS
    )


def expected_shapes() -> dict[str, tuple[int, ...]]:
    """The tensors that are used, by their published names."""
    shapes = _convolution("features.0", (FIRST_WIDTH, 1, 3, 3))
    for number, block in enumerate(BLOCKS, 1):
        at, wide = f"features.{number}.block", block.n_wide
        part = 0
        if wide != block.n_in:
            shapes |= _convolution(f"{at}.{part}", (wide, block.n_in, 1, 1))
            part += 1
        shapes |= _convolution(f"{at}.{part}", (wide, 1, block.kernel, block.kernel))
        part += 1
        if block.squeezes:
            dense, narrow = f"{at}.{part}.conc_se_layers.0", _squeezed(wide)
            shapes |= {
                f"{dense}.fc1.weight": (narrow, wide),
                f"{dense}.fc1.bias": (narrow,),
                f"{dense}.fc2.weight": (wide, narrow),
                f"{dense}.fc2.bias": (wide,),
            }
            part += 1
        shapes |= _convolution(f"{at}.{part}", (block.n_out, wide, 1, 1))
    last = (N_BINS, BLOCKS[-1].n_out, 1, 1)
    return shapes | _convolution(f"features.{len(BLOCKS) + 1}", last)


def _convolution(name: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """A convolution without bias and its batch normalisation."""
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.0.weight": shape, **{f"{name}.1.{part}": shape[:1] for part in parts}}


def _squeezed(n: int) -> int:
    """A quarter of the channels, rounded to a multiple of 8, but not down by more than 10 %."""
    quarter = n // 4
    rounded = max(8, (quarter + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * quarter else rounded + 8


def _embed(waveform: "Tensor", weights: "Mapping[str, Tensor]", filters: "Tensor") -> "Tensor":
    """`(n_windows, n_samples)` -> `(n_windows, 960)`."""
    from torch.nn import functional as F

    def convolved(x: "Tensor", name: str, stride: int = 1) -> "Tensor":
        kernel = weights[f"{name}.0.weight"]
        groups = x.shape[1] if kernel.shape[1] == 1 < x.shape[1] else 1
        x = F.conv2d(x, kernel, None, stride, (kernel.shape[2] - 1) // 2, 1, groups)
        parts = ("running_mean", "running_var", "weight", "bias")
        mean, variance, weight, bias = (weights[f"{name}.1.{part}"] for part in parts)
        return F.batch_norm(x, mean, variance, weight, bias, eps=BATCH_NORM_EPSILON)

    def excited(x: "Tensor", name: str) -> "Tensor":
        dense = f"{name}.conc_se_layers.0"
        squeezed = F.linear(
            x.mean(dim=(2, 3)), weights[f"{dense}.fc1.weight"], weights[f"{dense}.fc1.bias"]
        ).relu()
        scale = F.linear(squeezed, weights[f"{dense}.fc2.weight"], weights[f"{dense}.fc2.bias"])
        return x * scale.sigmoid()[:, :, None, None]

    x = F.hardswish(convolved(log_mel(waveform, filters)[:, None], "features.0", 2))
    for number, block in enumerate(BLOCKS, 1):
        activate = F.hardswish if block.hard_swish else F.relu
        at, part, before = f"features.{number}.block", 0, x
        if block.n_wide != block.n_in:
            x = activate(convolved(x, f"{at}.{part}"))
            part += 1
        x = activate(convolved(x, f"{at}.{part}", block.stride))
        part += 1
        if block.squeezes:
            x = excited(x, f"{at}.{part}")
            part += 1
        x = convolved(x, f"{at}.{part}")
        if block.stride == 1 and block.n_in == block.n_out:
            x = x + before
    return F.hardswish(convolved(x, f"features.{len(BLOCKS) + 1}")).mean(dim=(2, 3))
