"""CNN: a plain convolutional network, after report C, with variants.

Source: report C, "Music genre classification system": three convolutions of 32 filters, 3x3, with
batch norm, L2 and 3x3 max pooling of stride 2, a dense layer, softmax, on MFCC of segments.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from chorale.datasets.base import Layout
from chorale.datasets.config import config
from chorale.lightning_models import presets
from chorale.lightning_models.base import InputShape, Link, Space
from chorale.lightning_models.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from chorale.lightning_models.layers import EmbeddingNetwork, dropout_dense, pool_frames

LAYOUTS: tuple[Layout, ...] = ("spectrogram", "picture")


@config
class Config:
    """The shape of the network."""

    n_layers: Annotated[int, Field(ge=1, le=6)] = 3
    """Convolutions, each with a pooling that halves bins and frames."""
    width: Annotated[int, Field(ge=4, le=256)] = 32
    """Filters of the first convolution."""
    growth: Annotated[float, Field(ge=1, le=2)] = 1.0
    """Factor by which each further convolution has more filters."""
    kernel: Literal[3, 5] = 3
    """Kernel size (square)."""
    pooling: Literal["flatten", "mean", "max", "mean_max"] = "mean_max"
    """How the remaining frames are pooled; flatten keeps their order, as published."""
    dense: Annotated[int, Field(ge=8, le=1024)] = 64
    """Width of the dense layer."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """Dropout probability before and after the dense layer."""


SPACE: Space = {
    "n_layers": IntDistribution(2, 5),
    "width": IntDistribution(16, 64, step=16),
    "growth": CategoricalDistribution((1.0, 1.5)),
    "kernel": CategoricalDistribution((3, 5)),
    "pooling": CategoricalDistribution(("flatten", "mean", "max", "mean_max")),
    "dense": IntDistribution(32, 256, log=True),
    "dropout": FloatDistribution(0.0, 0.6),
}

DEFAULTS = (
    {  # for little data: pooled over time, label smoothing, mixup
        "n_layers": 3,
        "width": 32,
        "growth": 1.0,
        "kernel": 3,
        "pooling": "mean_max",
        "dense": 64,
        "dropout": 0.3,
        **presets.LITTLE_DATA,
    },
    {  # deeper, with SpecAugment against overfitting to recordings
        "n_layers": 4,
        "width": 32,
        "growth": 1.5,
        "kernel": 3,
        "pooling": "mean_max",
        "dense": 64,
        "dropout": 0.4,
        **presets.LITTLE_DATA,
        "train.n_masks": 2,
        "train.bin_mask": 0.2,
        "train.frame_mask": 0.2,
        "train.center": False,
    },
    {  # as published; L2 of 0.01 adds 0.01 w^2 to the loss, so 0.02 w to the gradient
        "n_layers": 3,
        "width": 32,
        "growth": 1.0,
        "kernel": 3,
        "pooling": "flatten",
        "dense": 64,
        "dropout": 0.3,
        **presets.PLAIN_ADAM,
        "train.weight_decay": 2e-2,
    },
)


class Cnn(EmbeddingNetwork):
    """Convolution, max pooling, ReLU, batch norm, repeated; then frames are pooled."""

    def __init__(self, config: Config, input_shape: InputShape, n_classes: int) -> None:
        """See `build`."""
        super().__init__()
        channels, n_bins, n_frames = input_shape
        blocks: list[nn.Module] = []
        for i in range(config.n_layers):
            width = round(config.width * config.growth**i)
            blocks += [
                nn.Conv2d(channels, width, config.kernel, padding=config.kernel // 2),
                nn.MaxPool2d(3, stride=2, padding=1),
                nn.ReLU(inplace=True),  # after pooling: the same result on a quarter of the values
                nn.BatchNorm2d(width),
            ]
            channels, n_bins, n_frames = width, -(-n_bins // 2), -(-n_frames // 2)
        self.body = nn.Sequential(*blocks)
        self.pooling = config.pooling
        self.n_frames = n_frames  # left of a training crop, for flatten
        n_steps = {"flatten": n_frames, "mean_max": 2}.get(config.pooling, 1)
        n_pooled = channels * n_bins * n_steps
        self.dense = dropout_dense(n_pooled, config.dense, dropout=config.dropout)
        self.head = nn.Linear(config.dense, n_classes)

    def embed(self, x: Tensor) -> Tensor:
        """(batch, n_channels, n_bins, n_frames) -> output of the dense layer (batch, dense)."""
        # frames are contiguous, so this order needs no copy
        x = self.body(x.transpose(2, 3))  # (batch, width, n_frames, n_bins)
        embedding: Tensor = self.dense(self._pool(x).flatten(1))
        return embedding

    def _pool(self, x: Tensor) -> Tensor:
        if self.pooling == "flatten":
            if x.shape[2] == self.n_frames:
                return x
            return nn.functional.adaptive_avg_pool2d(x, (self.n_frames, x.shape[3]))
        return pool_frames(x, kind=self.pooling, dim=2)


def build(config: Config, input_shape: InputShape, n_classes: int) -> nn.Module:
    """A freshly initialised `Cnn` (see `lightning_models.base.Architecture.build`).

    Its pools round up, so that it accepts inputs of any size.
    """
    return Cnn(config, input_shape, n_classes)


def chain(network: Cnn) -> list[Link]:
    """The chain of its layers, for pruning (see `lightning_models.base.Architecture`)."""
    return list(_links(network))


def _links(network: Cnn) -> Iterator[Link]:
    parts = list(network.body)
    norms = [part for part in parts if isinstance(part, nn.BatchNorm2d)]
    convolutions = [part for part in parts if isinstance(part, nn.Conv2d)]
    for layer, norm in zip(convolutions, norms, strict=True):
        yield Link(layer, norm)
    first = next(part for part in network.dense if isinstance(part, nn.Linear))
    yield Link(first, repeats=2 if network.pooling == "mean_max" else 1)
    yield Link(network.head)


def narrowed(config: Config, share: float) -> Config:
    """A config with about that share of filters and units, for pruning."""
    width, dense = max(4, round(config.width * share)), max(8, round(config.dense * share))
    return replace(config, width=min(width, config.width), dense=min(dense, config.dense))
