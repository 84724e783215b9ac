"""CNN6: four 5x5 convolutions, the smallest network of PANNs.

Source: Kong, Cao, Iqbal, Wang, Wang and Plumbley 2020, "PANNs: large-scale pretrained audio neural
networks for audio pattern recognition", arXiv:1912.10211: CNN6, four 5x5 convolutions of 64 to 512
filters with 2x2 mean pooling on 64 mel bins. Here the input's batch norm is left out: features
are standardized already.
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
from chorale.lightning_models.layers import EmbeddingNetwork, conv_norm, dropout_dense

LAYOUTS: tuple[Layout, ...] = ("spectrogram", "picture")
COST = 1.9


@config
class Config:
    """The shape of the network."""

    n_blocks: Annotated[int, Field(ge=1, le=5)] = 4
    """Convolutions, each followed by a pooling that halves bins and frames."""
    width: Annotated[int, Field(ge=4, le=64)] = 16
    """Filters of the first convolution; each further one has twice as many."""
    kernel: Literal[3, 5] = 5
    """Kernel size (square)."""
    dense: Annotated[int, Field(ge=8, le=1024)] = 512
    """Width of the dense layer."""
    conv_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Channel dropout probability after each pooling."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Dropout probability before and after the dense layer."""


SPACE: Space = {
    "n_blocks": IntDistribution(3, 4),
    "width": IntDistribution(16, 64, log=True),
    "kernel": CategoricalDistribution((3, 5)),
    "dense": IntDistribution(64, 512, log=True),
    "conv_dropout": FloatDistribution(0.0, 0.3),
    "dropout": FloatDistribution(0.0, 0.6),
}

DEFAULTS = (
    {  # for little data: a quarter as wide, less dropout, as there are few steps
        "n_blocks": 4,
        "width": 16,
        "kernel": 5,
        "dense": 128,
        "conv_dropout": 0.0,
        "dropout": 0.2,
        **presets.LITTLE_DATA,
        "train.lr": 2e-3,
    },
    {  # as published, with mixup and SpecAugment as there
        "n_blocks": 4,
        "width": 64,
        "kernel": 5,
        "dense": 512,
        "conv_dropout": 0.2,
        "dropout": 0.5,
        **presets.PLAIN_ADAM,
        "train.mixup_alpha": 0.5,
        "train.n_masks": 2,
        "train.bin_mask": 0.12,
        "train.frame_mask": 0.06,
    },
)


class Cnn6(EmbeddingNetwork):
    """Convolution, batch norm, ReLU and mean pooling, repeated; then frames are pooled."""

    def __init__(self, config: Config, input_shape: InputShape, n_classes: int) -> None:
        """See `build`."""
        super().__init__()
        widths = [input_shape[0], *(config.width * 2**i for i in range(config.n_blocks))]
        blocks: list[nn.Module] = []
        for n_in, n_out in pairwise(widths):
            blocks += [
                conv_norm(n_in, n_out, config.kernel),
                nn.AvgPool2d(2, ceil_mode=True),
                nn.Dropout2d(config.conv_dropout),
            ]
        self.body = nn.Sequential(*blocks)
        self.dense = dropout_dense(widths[-1], config.dense, dropout=config.dropout)
        self.head = nn.Linear(config.dense, n_classes)

    def embed(self, x: Tensor) -> Tensor:
        """(batch, n_channels, n_bins, n_frames) -> output of the dense layer (batch, dense)."""
        frames = self.body(x.transpose(2, 3)).mean(dim=3)  # (batch, width, n_frames)
        embedding: Tensor = self.dense(frames.amax(dim=2) + frames.mean(dim=2))
        return embedding


def build(config: Config, input_shape: InputShape, n_classes: int) -> nn.Module:
    """A freshly initialised `Cnn6` (see `lightning_models.base.Architecture.build`).

    Its pools round up, so that it accepts inputs of any size.
    """
    return Cnn6(config, input_shape, n_classes)
