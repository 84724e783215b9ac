"""CRNN: convolutions followed by a GRU over the frames.

Source: Choi, Fazekas, Sandler and Cho 2017, "Convolutional recurrent neural networks for music
classification", arXiv:1609.04243: four convolutions with ELU and pools of 2, 3, 4 and 4, and two
GRU layers of 32 units, whose last state is classified; on 29 s of 96 mel bins.
"""

from typing import Annotated, Literal

import torch
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
from chorale.lightning_models.layers import AttentionPool, EmbeddingNetwork, conv_norm, pool_frames

LAYOUTS: tuple[Layout, ...] = ("spectrogram", "picture")
COST = 1.8

_POOLS = (2, 3, 4, 4)
"""Pooling size after each convolution over bins, and the maximum over frames."""


@config
class Config:
    """The shape of the network."""

    n_layers: Annotated[int, Field(ge=1, le=4)] = 4
    """Convolutions, each with a pooling."""
    width: Annotated[int, Field(ge=4, le=256)] = 32
    """Filters of the first convolution; each further one has twice as many."""
    frame_pool: Literal[2, 3, 4] = 2
    """Maximum pooling size over frames: 4, as published, is for crops of 30 s."""
    n_recurrent: Annotated[int, Field(ge=1, le=3)] = 2
    """Number of stacked GRU layers."""
    recurrent_width: Annotated[int, Field(ge=8, le=256)] = 32
    """Width of a GRU layer's state."""
    pooling: Literal["last", "mean", "max", "attention"] = "last"
    """How the GRU's steps are pooled."""
    conv_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Channel dropout probability after each convolution."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """Dropout probability before the last layer."""


SPACE: Space = {
    "n_layers": IntDistribution(2, 4),
    "width": IntDistribution(16, 64, step=16),
    "frame_pool": CategoricalDistribution((2, 3, 4)),
    "n_recurrent": IntDistribution(1, 2),
    "recurrent_width": IntDistribution(32, 128, step=32),
    "pooling": CategoricalDistribution(("last", "mean", "max", "attention")),
    "conv_dropout": FloatDistribution(0.0, 0.3),
    "dropout": FloatDistribution(0.0, 0.6),
}

DEFAULTS = (
    {  # for little data and short crops: half as wide, more steps, mean over all of them
        "n_layers": 4,
        "width": 32,
        "frame_pool": 2,
        "n_recurrent": 2,
        "recurrent_width": 32,
        "pooling": "mean",
        "conv_dropout": 0.0,
        "dropout": 0.3,
        **presets.LITTLE_DATA,
        "train.lr": 2e-3,
    },
    {  # as published
        "n_layers": 4,
        "width": 64,
        "frame_pool": 4,
        "n_recurrent": 2,
        "recurrent_width": 32,
        "pooling": "last",
        "conv_dropout": 0.1,
        "dropout": 0.3,
        **presets.PLAIN_ADAM,
    },
)


class Crnn(EmbeddingNetwork):
    """Convolution, batch norm, ELU and pooling, repeated; then a GRU along the frames."""

    def __init__(self, config: Config, input_shape: InputShape, n_classes: int) -> None:
        """See `build`."""
        super().__init__()
        channels, n_bins, _ = input_shape
        blocks: list[nn.Module] = []
        for i, pool in enumerate(_POOLS[: config.n_layers]):
            width = config.width * (1 if i == 0 else 2)
            blocks += [
                conv_norm(channels, width, 3, activation=None),
                nn.MaxPool2d((min(pool, config.frame_pool), pool), ceil_mode=True),
                nn.ELU(inplace=True),  # after pooling: the same result on fewer values
                nn.Dropout2d(config.conv_dropout),
            ]
            channels, n_bins = width, -(-n_bins // pool)
        self.body = nn.Sequential(*blocks)
        self.recurrent = nn.GRU(
            channels * n_bins, config.recurrent_width, config.n_recurrent, batch_first=True
        )
        self.pooling = config.pooling
        has_attention = config.pooling == "attention"
        self.attention = AttentionPool(config.recurrent_width) if has_attention else None
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.recurrent_width, n_classes)

    def embed(self, x: Tensor) -> Tensor:
        """(batch, n_channels, n_bins, n_frames) -> pooled steps (batch, recurrent_width)."""
        x = self.body(x.transpose(2, 3))  # (batch, channels, n_steps, n_bins)
        steps = x.permute(0, 2, 1, 3).flatten(2)  # (batch, n_steps, channels * n_bins)
        with torch.autocast("cpu", enabled=False):  # on a CPU bf16 makes a GRU slower
            steps = self.recurrent(steps.float())[0]
        embedding: Tensor = self.dropout(self._pool(steps))
        return embedding

    def _pool(self, steps: Tensor) -> Tensor:
        if self.attention is not None:
            pooled: Tensor = self.attention(steps)
            return pooled
        if self.pooling == "last":
            return steps[:, -1]
        return pool_frames(steps, kind=self.pooling, dim=1)


def build(config: Config, input_shape: InputShape, n_classes: int) -> nn.Module:
    """A freshly initialised `Crnn` (see `lightning_models.base.Architecture.build`).

    Its pools round up, so that it accepts inputs of any size.
    """
    return Crnn(config, input_shape, n_classes)
