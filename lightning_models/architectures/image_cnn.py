"""Small CNN on a spectrogram as a grey picture, after report B.

Source: report B, "NN & DL music genre classification": two convolutions on grey spectrogram
pictures of GTZAN, batches of 4, 10 epochs; filters, pools and the dense layer are not published.
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
from chorale.lightning_models.layers import EmbeddingNetwork, dropout_dense, pool_frames, to_grid

LAYOUTS: tuple[Layout, ...] = ("picture", "spectrogram")
COST = 1.4

N_COLOUR_CHANNELS = 3
"""Colour channels of a picture; a fourth channel is alpha."""


@config
class Config:
    """The shape of the network."""

    grey: bool = True
    """Whether the colour channels are averaged."""
    width: Annotated[int, Field(ge=4, le=256)] = 32
    """Filters of the first convolution; the second has twice as many."""
    kernel: Literal[3, 5] = 3
    """Kernel size (square)."""
    pool: Annotated[int, Field(ge=2, le=8)] = 4
    """Size of the square max pooling after each convolution."""
    pooling: Literal["flatten", "mean", "max", "mean_max"] = "flatten"
    """How the remaining frames are pooled; flatten keeps their order, as published."""
    batch_norm: bool = False
    """Whether each convolution has batch norm."""
    dense: Annotated[int, Field(ge=8, le=1024)] = 64
    """Width of the dense layer."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """Dropout probability before and after the dense layer."""


SPACE: Space = {
    "grey": CategoricalDistribution((True, False)),
    "width": IntDistribution(8, 48, step=8),
    "kernel": CategoricalDistribution((3, 5)),
    "pool": IntDistribution(3, 5),
    "pooling": CategoricalDistribution(("flatten", "mean", "max", "mean_max")),
    "batch_norm": CategoricalDistribution((False, True)),
    "dense": IntDistribution(32, 256, log=True),
    "dropout": FloatDistribution(0.0, 0.6),
}

DEFAULTS = (
    {  # for little data: batch norm, pooled over time, mixup
        "grey": True,
        "width": 32,
        "kernel": 5,
        "pool": 3,
        "pooling": "mean_max",
        "batch_norm": True,
        "dense": 64,
        "dropout": 0.4,
        **presets.LITTLE_DATA,
    },
    {  # as published, as far as it was; 16 is the searched batch size nearest to 4
        "grey": True,
        "width": 32,
        "kernel": 3,
        "pool": 4,
        "pooling": "flatten",
        "batch_norm": False,
        "dense": 64,
        "dropout": 0.3,
        **presets.PLAIN_ADAM,
        "train.batch_size": 16,
    },
)


class ImageCnn(EmbeddingNetwork):
    """Convolution, pooling, ReLU, batch norm, twice; then frames are pooled; a dense layer."""

    def __init__(self, config: Config, input_shape: InputShape, n_classes: int) -> None:
        """See `build`."""
        super().__init__()
        channels, n_bins, n_frames = input_shape
        self.grey = config.grey
        channels = 1 if config.grey else channels
        blocks: list[nn.Module] = []
        for width in (config.width, 2 * config.width):
            blocks += [
                nn.Conv2d(channels, width, config.kernel, padding=config.kernel // 2),
                nn.MaxPool2d(config.pool, ceil_mode=True),
                nn.ReLU(inplace=True),  # after pooling: the same result on fewer values
            ]
            if config.batch_norm:
                blocks.append(nn.BatchNorm2d(width))
            channels = width
            n_bins, n_frames = -(-n_bins // config.pool), -(-n_frames // config.pool)
        self.body = nn.Sequential(*blocks)
        self.pooling = config.pooling
        self.grid = (n_frames, n_bins)  # left of a training crop, for flatten
        n_steps = {"flatten": n_frames, "mean_max": 2}.get(config.pooling, 1)
        self.dense = dropout_dense(
            channels * n_bins * n_steps, config.dense, dropout=config.dropout
        )
        self.head = nn.Linear(config.dense, n_classes)

    def embed(self, x: Tensor) -> Tensor:
        """(batch, n_channels, n_bins, n_frames) -> output of the dense layer (batch, dense)."""
        if self.grey:
            x = x[:, :N_COLOUR_CHANNELS].mean(dim=1, keepdim=True)
        # frames are contiguous, so this order needs no copy
        x = self.body(x.transpose(2, 3))  # (batch, width, n_frames, n_bins)
        if self.pooling == "flatten":
            x = to_grid(x, self.grid)
        else:
            x = pool_frames(x, kind=self.pooling, dim=2)
        embedding: Tensor = self.dense(x.flatten(1))
        return embedding


def build(config: Config, input_shape: InputShape, n_classes: int) -> nn.Module:
    """A freshly initialised `ImageCnn` (see `lightning_models.base.Architecture.build`).

    Its pools round up, so that it accepts pictures of any size.
    """
    return ImageCnn(config, input_shape, n_classes)
