"""The last blocks of CNN14 as a module that can be trained (see `panns_network`)."""

from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional as F

from chorale.datasets.programs import panns_network
from chorale.datasets.programs.last_blocks import FixedNorm, join_windows, split_windows

WINDOW_FRAMES = 501
"""Frames of the spectrogram of a window of 5 seconds."""


class ConvBlock(nn.Module):
    """Two convolutions with batch norm; all but the last block then halve time and frequency."""

    def __init__(self, number: int) -> None:
        """The `number`-th, counted from 0."""
        super().__init__()
        widths, eps = panns_network.WIDTHS, panns_network.BATCH_NORM_EPSILON
        self.halves = number < len(widths) - 1
        self.conv1 = nn.Conv2d(widths[number - 1], widths[number], 3, padding=1, bias=False)
        self.bn1 = FixedNorm(widths[number], eps=eps)
        self.conv2 = nn.Conv2d(widths[number], widths[number], 3, padding=1, bias=False)
        self.bn2 = FixedNorm(widths[number], eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n_channels, n_frames, n_frequencies) -> the same axes."""
        x = self.bn1(self.conv1(x)).relu()
        x = self.bn2(self.conv2(x)).relu()
        return F.avg_pool2d(x, 2) if self.halves and min(x.shape[2:]) > 1 else x


class Cnn14Blocks(nn.Module):
    """Convolutions, the maximum plus the mean over each window, the dense layer."""

    def __init__(self, n_blocks: int) -> None:
        """See `last_blocks`."""
        super().__init__()
        widths = panns_network.WIDTHS
        first = panns_network.first_block(n_blocks)
        self.n_channels = widths[first - 1]
        self.window = WINDOW_FRAMES // 2**first if first < len(widths) else 1
        convolutions = [ConvBlock(i) for i in range(first, len(widths))]
        self.n_convolutions = len(convolutions)
        dense = nn.Sequential(nn.Linear(widths[-1], panns_network.N_BINS), nn.ReLU())
        self.blocks = nn.ModuleList([*convolutions, dense])

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n_bins, n_frames) -> (batch, 2048, n_windows)."""
        n_crops = len(x)
        x = split_windows(x, self.window)
        if self.n_convolutions:
            x = x.unflatten(1, (self.n_channels, -1)).transpose(2, 3)  # type: ignore[no-untyped-call]
            for block in self.blocks[: self.n_convolutions]:
                x = block(x)
            over_time = x.mean(dim=3)
            x = over_time.amax(dim=2) + over_time.mean(dim=2)
        else:
            x = x.squeeze(2)
        return join_windows(self.blocks[-1](x), n_crops)


def last_blocks(file: Path | None, *, n_blocks: int) -> nn.Module:
    """The last blocks, with the weights of `file` where it is given.

    Raises:
        ProgramError: the file is damaged, or of another network.
    """
    made = Cnn14Blocks(n_blocks)
    if file is None:
        return made
    found = panns_network.read_cnn14(file)
    first = panns_network.first_block(n_blocks)
    weights: dict[str, Tensor] = {
        f"blocks.{made.n_convolutions}.0.{part}": found[f"fc1.{part}"]
        for part in ("weight", "bias")
    }
    for i in range(made.n_convolutions):
        prefix = f"conv_block{first + i + 1}."
        weights |= {
            f"blocks.{i}.{name.removeprefix(prefix)}": tensor
            for name, tensor in found.items()
            if name.startswith(prefix)
        }
    made.load_state_dict(weights)
    return made
