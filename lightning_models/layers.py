"""Layers that two or more architectures share; architectures do not import one another."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chorale.lightning_models.base import InputShape


class EmbeddingNetwork(nn.Module):
    """Base class of networks: `forward` is the last layer `head` applied to `embed`.

    A subclass sets `head` and implements `embed` (see `lightning_models.base.Network`).
    """

    head: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n_channels, n_bins, n_frames) -> logits (batch, n_classes)."""
        logits: Tensor = self.head(self.embed(x))
        return logits

    def embed(self, x: Tensor) -> Tensor:
        """(batch, n_channels, n_bins, n_frames) -> (batch, width)."""
        raise NotImplementedError(f"{type(self).__name__} has no embed")


def dropout_dense(n_in: int, n_out: int, *, dropout: float) -> nn.Sequential:
    """Dropout, dense layer, ReLU, dropout: (batch, n_in) -> (batch, n_out)."""
    return nn.Sequential(
        nn.Dropout(dropout),
        nn.Linear(n_in, n_out),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
    )


def pool_frames(x: Tensor, *, kind: str, dim: int) -> Tensor:
    """Global pooling over frames.

    Args:
        x: any shape.
        kind: "mean", "max", or "mean_max" for both, concatenated along dimension 1.
        dim: of the frames; it is removed.

    Raises:
        ValueError: no such kind.
    """
    if kind == "mean":
        return x.mean(dim=dim)
    if kind == "max":
        return x.amax(dim=dim)
    if kind == "mean_max":
        return torch.cat([x.mean(dim=dim), x.amax(dim=dim)], dim=1)
    raise ValueError(f"kind must be mean, max or mean_max, but got {kind=}")


def conv_norm(
    n_in: int,
    n_out: int,
    kernel: int | tuple[int, int],
    *,
    stride: int | tuple[int, int] = 1,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
    activation: Callable[[], nn.Module] | None = nn.ReLU,
) -> nn.Sequential:
    """A convolution, batch norm, activation: (batch, n_in, h, w) -> (batch, n_out, h, w).

    Kernel sizes are odd. Zero padding keeps the input's size; a stride divides it and rounds up, so
    that any input size works.
    """
    edges = (kernel, kernel) if isinstance(kernel, int) else kernel
    gaps = (dilation, dilation) if isinstance(dilation, int) else dilation
    padding = (gaps[0] * (edges[0] // 2), gaps[1] * (edges[1] // 2))
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, edges, stride, padding, gaps, groups, bias=False),
        nn.BatchNorm2d(n_out),
        *([activation()] if activation else []),
    )


class AttentionPool(nn.Module):
    """Attention pooling: the mean of all steps, weighted by a learned query.

    Source: Bahdanau, Cho and Bengio 2015, arXiv:1409.0473 (attention).
    """

    def __init__(self, width: int) -> None:
        """For steps of `width` values."""
        super().__init__()
        self.question = nn.Linear(width, 1)

    def forward(self, steps: Tensor) -> Tensor:
        """(batch, n_steps, width) -> (batch, width)."""
        share: Tensor = self.question(steps).softmax(dim=1)  # (batch, n_steps, 1)
        return (share * steps).sum(dim=1)


def to_grid(x: Tensor, grid: tuple[int, int]) -> Tensor:
    """Adaptive average pooling of a longer input's feature map to the size of a training crop's.

    Args:
        x: (batch, width, n_rows, n_columns).
        grid: (n_rows, n_columns) of a training crop.
    """
    return x if x.shape[2:] == grid else F.adaptive_avg_pool2d(x, grid)


CLIP = 3.0
"""The bound of clipped columns, in standard deviations."""


def soft_clip(x: Tensor) -> Tensor:
    """Soft clipping of standardized columns: (batch, n_columns), all within `CLIP`.

    Statistics such as variance and kurtosis have long tails, which unseen artists reach.

    Source: Holzmueller, Grinsztajn and Steinwart 2024, arXiv:2407.04491.
    """
    return x / (1 + (x / CLIP).square()).sqrt()


def n_values(input_shape: InputShape) -> int:
    """The number of values of an input; for a table's row, its columns."""
    return math.prod(input_shape)
