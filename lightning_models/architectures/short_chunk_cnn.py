"""Short-chunk CNN: a deep VGG-like or residual CNN on short crops, strong for music tagging.

Source: Won, Ferraro, Bogdanov and Serra 2020, "Evaluation of CNN-based automatic music tagging
models", arXiv:2006.00751: seven blocks of 3x3 convolution and 2x2 max pooling on 3.7 s of 128 mel
bins, global max pooling, a dense layer; or the same with residual blocks that stride.
"""

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from chorale.datasets.base import Layout
from chorale.datasets.config import config
from chorale.lightning_models import presets
from chorale.lightning_models.base import InputShape, Space
from chorale.lightning_models.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from chorale.lightning_models.layers import EmbeddingNetwork, conv_norm, pool_frames

LAYOUTS: tuple[Layout, ...] = ("spectrogram", "picture")
COST = 0.65

WIDTHS = (1, 1, 2, 2, 2, 2, 4)
"""Filters of each block, as multiples of the first one's."""


@config
class Config:
    """The shape of the network."""

    n_blocks: Annotated[int, Field(ge=1, le=7)] = 7
    """Blocks, each of which halves bins and frames; at most as many as the input can be halved."""
    width: Annotated[int, Field(ge=4, le=256)] = 32
    """Filters of the first block; the last of seven has four times as many."""
    residual: bool = True
    """Whether a block is two convolutions with a shortcut, or one convolution and a pooling."""
    pooling: Literal["max", "mean", "mean_max"] = "max"
    """How the last block's output is pooled over all positions."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Dropout probability before the last layer."""


SPACE: Space = {
    "n_blocks": IntDistribution(3, 7),
    "width": IntDistribution(16, 64, step=16),
    "residual": CategoricalDistribution((False, True)),
    "pooling": CategoricalDistribution(("max", "mean", "mean_max")),
    "dropout": FloatDistribution(0.0, 0.6),
}

DEFAULTS = (
    {  # for little data: an eighth of the published width, mixup
        "n_blocks": 7,
        "width": 16,
        "residual": True,
        "pooling": "max",
        "dropout": 0.5,
        **presets.LITTLE_DATA,
    },
    {  # trained as published, but half as wide
        "n_blocks": 7,
        "width": 64,
        "residual": False,
        "pooling": "max",
        "dropout": 0.5,
        **presets.PLAIN_ADAM,
        "train.lr": 1e-4,
        "train.weight_decay": 1e-4,
        "train.batch_size": 16,
    },
)


class ResidualBlock(nn.Module):
    """Residual block: two convolutions, the first with stride, and a shortcut."""

    def __init__(self, n_in: int, n_out: int) -> None:
        """The shortcut is a convolution with the same stride."""
        super().__init__()
        self.body = nn.Sequential(
            conv_norm(n_in, n_out, 3, stride=2), conv_norm(n_out, n_out, 3, activation=None)
        )
        self.short_cut = conv_norm(n_in, n_out, 3, stride=2, activation=None)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n_in, h, w) -> (batch, n_out, h / 2, w / 2), rounded up."""
        summed: Tensor = self.body(x) + self.short_cut(x)
        return summed.relu()


def plain_block(n_in: int, n_out: int) -> nn.Module:
    """Convolution, batch norm, ReLU and max pooling: (batch, n_in, h, w) -> as `ResidualBlock`."""
    return nn.Sequential(
        conv_norm(n_in, n_out, 3, activation=None),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.ReLU(inplace=True),  # after pooling: the same result on a quarter of the values
    )


class ShortChunkCnn(EmbeddingNetwork):
    """Blocks that halve bins and frames; global pooling; a dense layer."""

    def __init__(self, config: Config, input_shape: InputShape, n_classes: int) -> None:
        """See `build`."""
        super().__init__()
        channels, *size = input_shape
        n_blocks = min(config.n_blocks, max(1, (max(size) - 1).bit_length()))
        widths = [channels, *(config.width * times for times in WIDTHS[:n_blocks])]
        block = ResidualBlock if config.residual else plain_block
        self.body = nn.Sequential(*(block(n_in, n_out) for n_in, n_out in pairwise(widths)))
        self.pooling = config.pooling
        n_pooled = widths[-1] * (2 if config.pooling == "mean_max" else 1)
        self.dense = nn.Sequential(
            nn.Linear(n_pooled, widths[-1]),
            nn.BatchNorm1d(widths[-1]),
            nn.ReLU(inplace=True),
            nn.Dropout(config.dropout),
        )
        self.head = nn.Linear(widths[-1], n_classes)

    def embed(self, x: Tensor) -> Tensor:
        """(batch, n_channels, n_bins, n_frames) -> output of the dense layer (batch, width)."""
        x = self.body(x.transpose(2, 3)).flatten(2)  # (batch, width, n_positions)
        embedding: Tensor = self.dense(pool_frames(x, kind=self.pooling, dim=2))
        return embedding


def build(config: Config, input_shape: InputShape, n_classes: int) -> nn.Module:
    """A freshly initialised `ShortChunkCnn` (see `lightning_models.base.Architecture.build`).

    It has at most as many blocks as the input can be halved, so that it accepts inputs of any size.
    """
    return ShortChunkCnn(config, input_shape, n_classes)
