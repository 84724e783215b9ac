"""The last blocks of musicnn as a module that can be trained (see `musicnn_network`)."""

from pathlib import Path

import torch
from torch import Tensor, nn

from chorale.datasets.programs import musicnn_network
from chorale.datasets.programs.last_blocks import ScaleAndShift, join_windows, split_windows
from chorale.datasets.programs.musicnn_network import N_FRAMES, N_PENULTIMATE, N_POOLED, RESIDUAL

_KERNEL = 7
N_FRONT, N_RESIDUAL = 561, 64
"""The channels of the first stage, and of each residual convolution."""


class Residual(nn.Module):
    """A convolution over time; its input is all stages before it, its output these and its own."""

    def __init__(self, number: int) -> None:
        """The `number`-th, counted from 0."""
        super().__init__()
        self.n_read = N_RESIDUAL if number else N_FRONT  # the last stage
        self.adds = number > 0
        self.convolution = nn.Conv1d(self.n_read, N_RESIDUAL, _KERNEL, padding=_KERNEL // 2)
        self.norm = ScaleAndShift(N_RESIDUAL)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n_channels, n_frames) -> (batch, n_channels + 64, n_frames)."""
        last = x[:, -self.n_read :]
        made = self.norm(self.convolution(last).relu())
        return torch.cat([x, made + last if self.adds else made], 1)


class Dense(nn.Module):
    """The dense layer on the pooled stages."""

    def __init__(self) -> None:
        super().__init__()
        self.before = ScaleAndShift(2 * N_POOLED)
        self.linear = nn.Linear(2 * N_POOLED, N_PENULTIMATE)
        self.after = ScaleAndShift(N_PENULTIMATE)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 1506) -> (n, 200)."""
        made: Tensor = self.after(self.linear(self.before(x)).relu())
        return made


class MusicnnBlocks(nn.Module):
    """Residual convolutions, mean and maximum over each window, the dense layer."""

    def __init__(self, layer: str, n_blocks: int) -> None:
        """See `last_blocks`."""
        super().__init__()
        first = musicnn_network.first_block(layer, n_blocks)
        each: list[nn.Module] = [Residual(i) for i in range(first, len(RESIDUAL))]
        self.n_convolutions = len(each)
        if layer == "penultimate":
            each.append(Dense())
        self.blocks = nn.ModuleList(each)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n_bins, n_frames) -> (batch, n_bins of the layer, n_windows)."""
        n_crops = len(x)
        x = split_windows(x, N_FRAMES if self.n_convolutions else 1)
        for block in self.blocks[: self.n_convolutions]:
            x = block(x)
        x = torch.cat([x.mean(2), x.amax(2)], 1) if self.n_convolutions else x.squeeze(2)
        for block in self.blocks[self.n_convolutions :]:
            x = block(x)
        return join_windows(x, n_crops)


def last_blocks(file: Path | None, *, layer: str, n_blocks: int) -> nn.Module:
    """The last blocks before a layer, with the weights of `file` where it is given.

    Raises:
        ProgramError: the file is damaged, or of another network.
    """
    made = MusicnnBlocks(layer, n_blocks)
    if file is None:
        return made
    found = musicnn_network.read_musicnn(file)
    first = musicnn_network.first_block(layer, n_blocks)
    names = [*RESIDUAL, "dense"][first:]
    weights: dict[str, Tensor] = {}
    for i, name in enumerate(names[: len(made.blocks)]):
        is_dense = name == "dense"
        inner, norm = ("linear", "after") if is_dense else ("convolution", "norm")
        for part in ("weight", "bias"):
            weights[f"blocks.{i}.{inner}.{part}"] = found[f"{name}.{part}"]
        for part in ("scale", "shift"):
            weights[f"blocks.{i}.{norm}.{part}"] = found[f"{name}.{part}"]
            if is_dense:
                weights[f"blocks.{i}.before.{part}"] = found[f"pooled.{part}"]
    made.load_state_dict(weights)
    return made
