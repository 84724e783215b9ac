"""VGG-like CNN that doubles its filters and ends in wide dense layers, after report D.

Source: report D, "DLS final project": convolutions of 64, 128, 256 and 512 filters, 3x3, padding 1,
pools of 2, 2, 4 and 4, dropout 0.5, Linear(77824, 1024), 256 and 10 classes, on spectrograms of one
channel. 77,824 = 512 * 8 * 19 is what 513 bins and 29 s of 1,249 frames leave, for one (n_fft 1024,
hop 512, 22,050 Hz); which input it was is not published. He, Zhang, Ren and Sun 2015,
arXiv:1502.01852 (Kaiming initialization).
"""

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
from chorale.lightning_models.layers import EmbeddingNetwork, pool_frames, to_grid

LAYOUTS: tuple[Layout, ...] = ("spectrogram", "picture")
HEAVY = True
COST = 5.0

_POOLS = (2, 2, 4, 4)
"""Size of the square max pooling after each convolution."""


@config
class Config:
    """The shape of the network."""

    width: Annotated[int, Field(ge=4, le=128)] = 64
    """Filters of the first convolution; each further one has twice as many as the one before."""
    batch_norm: bool = False
    """Whether each convolution has batch norm."""
    pooling: Literal["flatten", "mean", "max", "mean_max"] = "flatten"
    """How the remaining frames are pooled; flatten keeps their order, as published."""
    dense: Annotated[int, Field(ge=16, le=2048)] = 1024
    """Width of the first dense layer; the second has a quarter of it."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Dropout probability before each dense layer."""


SPACE: Space = {
    "width": IntDistribution(16, 64, step=16),
    "batch_norm": CategoricalDistribution((False, True)),
    "pooling": CategoricalDistribution(("flatten", "mean", "max", "mean_max")),
    "dense": IntDistribution(64, 1024, log=True),
    "dropout": FloatDistribution(0.0, 0.6),
}

DEFAULTS = (
    {  # for little data: a quarter of the operations, batch norm, pooled over time, mixup
        "width": 32,
        "batch_norm": True,
        "pooling": "mean_max",
        "dense": 256,
        "dropout": 0.3,
        **presets.LITTLE_DATA,
    },
    {  # the layers as published; their training was not published
        "width": 64,
        "batch_norm": False,
        "pooling": "flatten",
        "dense": 1024,
        "dropout": 0.5,
        **presets.PLAIN_ADAM,
        "train.lr": 3e-4,
    },
)


class Convnet(EmbeddingNetwork):
    """Convolution, batch norm, pooling, ReLU, four times; then two dense layers."""

    def __init__(self, config: Config, input_shape: InputShape, n_classes: int) -> None:
        """See `build`."""
        super().__init__()
        channels, n_bins, n_frames = input_shape
        blocks: list[nn.Module] = []
        for i, pool in enumerate(_POOLS):
            width = config.width * 2**i
            edges = min(pool, n_frames), min(pool, n_bins)  # not larger than the input
            blocks.append(nn.Conv2d(channels, width, 3, padding=1))
            if config.batch_norm:
                blocks.append(nn.BatchNorm2d(width))
            # ReLU after pooling: the same result on fewer values
            blocks += [nn.MaxPool2d(edges), nn.ReLU(inplace=True)]
            channels, n_frames, n_bins = width, n_frames // edges[0], n_bins // edges[1]
        self.body = nn.Sequential(*blocks)
        self.pooling = config.pooling
        self.grid = (n_frames, n_bins)  # left of a training crop, for flatten
        n_steps = {"flatten": n_frames, "mean_max": 2}.get(config.pooling, 1)
        n_pooled = channels * n_bins * n_steps
        last = config.dense // 4
        self.dense = nn.Sequential(
            nn.Dropout(config.dropout),
            nn.Linear(n_pooled, config.dense),
            nn.ReLU(inplace=True),
            nn.Dropout(config.dropout),
            nn.Linear(config.dense, last),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Linear(last, n_classes)
        for layer in [*self.body, *self.dense]:  # otherwise training starts late without batch norm
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def embed(self, x: Tensor) -> Tensor:
        """(batch, n_channels, n_bins, n_frames) -> the last dense layer (batch, dense // 4)."""
        # frames are contiguous, so this order needs no copy
        x = self.body(x.transpose(2, 3))  # (batch, width, n_frames, n_bins)
        if self.pooling == "flatten":
            x = to_grid(x, self.grid)
        else:
            x = pool_frames(x, kind=self.pooling, dim=2)
        embedding: Tensor = self.dense(x.flatten(1))
        return embedding


def build(config: Config, input_shape: InputShape, n_classes: int) -> nn.Module:
    """A freshly initialised `Convnet` (see `lightning_models.base.Architecture.build`).

    On an input with a side under 64 its pools shrink, so that it accepts inputs of any size.
    """
    return Convnet(config, input_shape, n_classes)
