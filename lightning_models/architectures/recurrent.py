"""LSTM or GRU over frames, after reports A and B, with variants.

Source: report B, "NN & DL music genre classification": two LSTM layers on MFCC, a dense layer
with ReLU, dropout, softmax. Report A, "Deep Learning major project": LSTM(1292, 64),
LSTM(64, 64), Linear(64, 64), dropout 0.3, Linear(64, 10) on mel pictures of 30 s, whose 1,292
frames are the values of a step, and whose bins are the steps. Cho et al. 2014, arXiv:1406.1078
(GRU).
"""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from chorale.datasets.base import Layout
from chorale.datasets.config import config
from chorale.lightning_models import presets
from chorale.lightning_models.base import InputShape, Space
from chorale.lightning_models.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from chorale.lightning_models.layers import EmbeddingNetwork, dropout_dense, pool_frames, to_grid

LAYOUTS: tuple[Layout, ...] = ("spectrogram", "picture", "embedding")
COST = 0.6


@config
class Config:
    """The shape of the network."""

    cell: Literal["lstm", "gru"] = "lstm"
    """The recurrent unit."""
    steps: Literal["frames", "bins"] = "frames"
    """The sequence axis: frames, or bins, as if the spectrogram was transposed."""
    n_layers: Annotated[int, Field(ge=1, le=4)] = 2
    """Number of stacked recurrent layers."""
    bidirectional: bool = False
    """Whether each layer is bidirectional."""
    width: Annotated[int, Field(ge=8, le=512)] = 64
    """Width of a layer's state, per direction."""
    stride: Annotated[int, Field(ge=1, le=16)] = 1
    """Number of neighbouring steps averaged into one, which is as many times faster."""
    pooling: Literal["last", "mean", "max", "attention"] = "last"
    """How the steps are pooled."""
    dense: Annotated[int, Field(ge=8, le=1024)] = 64
    """Width of the dense layer."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """Dropout probability between layers, and before and after the dense layer."""


SPACE: Space = {
    "cell": CategoricalDistribution(("lstm", "gru")),
    "steps": CategoricalDistribution(("frames", "bins")),
    "n_layers": IntDistribution(1, 3),
    "bidirectional": CategoricalDistribution((False, True)),
    "width": IntDistribution(32, 128, step=32),
    "stride": CategoricalDistribution((1, 2, 4)),
    "pooling": CategoricalDistribution(("last", "mean", "max", "attention")),
    "dense": IntDistribution(32, 256, log=True),
    "dropout": FloatDistribution(0.0, 0.6),
}

DEFAULTS = (
    {  # for little data: bidirectional, stride 2, attention pooling
        "cell": "gru",
        "steps": "frames",
        "n_layers": 2,
        "bidirectional": True,
        "width": 64,
        "stride": 2,
        "pooling": "attention",
        "dense": 64,
        "dropout": 0.4,
        **presets.LITTLE_DATA,
        "train.lr": 2e-3,
    },
    {  # as published by B
        "cell": "lstm",
        "steps": "frames",
        "n_layers": 2,
        "bidirectional": False,
        "width": 64,
        "stride": 1,
        "pooling": "last",
        "dense": 64,
        "dropout": 0.3,
        **presets.PLAIN_ADAM,
    },
    {  # A's layers, transposed as published: LSTM(1292, 64) on crops of 30 s; there, dropout was
        # only after the dense layer
        "cell": "lstm",
        "steps": "bins",
        "n_layers": 2,
        "bidirectional": False,
        "width": 64,
        "stride": 1,
        "pooling": "last",
        "dense": 64,
        "dropout": 0.3,
        **presets.PLAIN_ADAM,
        "train.batch_size": 64,
    },
)


class Recurrent(EmbeddingNetwork):
    """Recurrent layers over (averaged) frames or bins, pooling over steps, a dense layer."""

    def __init__(self, config: Config, input_shape: InputShape, n_classes: int) -> None:
        """See `build`."""
        super().__init__()
        n_channels, n_bins, n_frames = input_shape
        # with bins as steps, a step has as many values as a training crop has frames
        self.n_frames = n_frames if config.steps == "bins" else None
        self.stride = config.stride
        self.pooling = config.pooling
        unit = nn.LSTM if config.cell == "lstm" else nn.GRU
        self.layers = unit(
            n_channels * (self.n_frames or n_bins),
            config.width,
            config.n_layers,
            batch_first=True,
            bidirectional=config.bidirectional,
            dropout=config.dropout if config.n_layers > 1 else 0.0,
        )
        width = config.width * (2 if config.bidirectional else 1)
        self.attention = nn.Linear(width, 1) if config.pooling == "attention" else None
        self.dense = dropout_dense(width, config.dense, dropout=config.dropout)
        self.head = nn.Linear(config.dense, n_classes)

    def embed(self, x: Tensor) -> Tensor:
        """(batch, n_channels, n_bins, n_frames) -> output of the dense layer (batch, dense)."""
        if self.n_frames:
            x = x.transpose(2, 3)
            x = to_grid(x, (self.n_frames, x.shape[3]))
        x = x.flatten(1, 2)  # (batch, values of a step, n_steps)
        if self.stride > 1:
            x = F.avg_pool1d(x, self.stride, ceil_mode=True)
        steps = self._read(x.transpose(1, 2))  # (batch, n_steps, width)
        embedding: Tensor = self.dense(self._pool(steps))
        return embedding

    def _read(self, steps: Tensor) -> Tensor:
        if isinstance(self.layers, nn.GRU) and steps.device.type == "cpu":
            # on a CPU bf16 makes an LSTM twice as fast and a GRU 10 to 20 % slower
            with torch.autocast("cpu", enabled=False):
                read: Tensor = self.layers(steps.float())[0]
        else:
            read = self.layers(steps)[0]
        return read

    def _pool(self, steps: Tensor) -> Tensor:
        if self.pooling in ("mean", "max"):
            return pool_frames(steps, kind=self.pooling, dim=1)
        if self.attention is not None:
            share = self.attention(steps).softmax(dim=1)  # (batch, n_steps, 1)
            read: Tensor = (share * steps).sum(dim=1)
            return read
        if not self.layers.bidirectional:
            return steps[:, -1]
        half = steps.shape[2] // 2  # the last state of each direction
        return torch.cat([steps[:, -1, :half], steps[:, 0, half:]], dim=1)


def build(config: Config, input_shape: InputShape, n_classes: int) -> nn.Module:
    """A freshly initialised `Recurrent` (see `lightning_models.base.Architecture.build`)."""
    return Recurrent(config, input_shape, n_classes)
