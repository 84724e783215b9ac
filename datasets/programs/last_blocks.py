"""Parts of an encoder's last blocks that are trained on: windows of frames, fixed batch norms.

The files `*_blocks.py` use it. Unlike the other files of this folder they import PyTorch, so that
they are themselves imported inside functions only.
"""

import torch
from torch import Tensor, nn


class FixedNorm(nn.Module):
    """Batch norm by the statistics of the published training; scale and shift are trained.

    A batch of some crops of few recordings would replace the statistics of a million by its own,
    and an evaluation would then use averages that fit neither: so they stay, as where the encoder
    is frozen.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, n_channels: int, *, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(n_channels))
        self.bias = nn.Parameter(torch.zeros(n_channels))
        self.register_buffer("running_mean", torch.zeros(n_channels))
        self.register_buffer("running_var", torch.ones(n_channels))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n_channels, ...) -> the same shape."""
        return nn.functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )


class ScaleAndShift(nn.Module):
    """A factor and an addend of each channel: a batch norm whose statistics were folded in."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(n_channels))
        self.shift = nn.Parameter(torch.zeros(n_channels))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n_channels, ...) -> the same shape."""
        shape = (1, -1) + (1,) * (x.ndim - 2)
        return torch.addcmul(self.shift.view(shape), x, self.scale.view(shape))


def split_windows(x: Tensor, n_frames: int) -> Tensor:
    """Cuts crops into windows of about the length that the encoder was trained with.

    Args:
        x: (batch, n_bins, n), a crop of any length.
        n_frames: of the encoder's window. The windows are equally long, as many as fit best; up to
            one frame less than there are windows is left out at the end.

    Returns:
        (batch * n_windows, n_bins, frames of a window), the windows of a crop side by side.
    """
    n_windows = max(1, round(x.shape[2] / n_frames))
    length = x.shape[2] // n_windows
    kept = x[:, :, : n_windows * length]
    windows = kept.reshape(len(x), x.shape[1], n_windows, length)
    return windows.transpose(1, 2).flatten(0, 1)


def join_windows(x: Tensor, n_crops: int) -> Tensor:
    """One vector of each window (batch * n_windows, n_bins) -> (batch, n_bins, n_windows)."""
    return x.view(n_crops, -1, x.shape[1]).transpose(1, 2)
