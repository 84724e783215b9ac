"""1-D CNN on a table's columns in given or learned order, after report B.

Source: report B, "NN & DL music genre classification": a CNN on the standardised feature table of
GTZAN; its layers are not published, so two convolutions and a dense layer stand for them. Guo 2020,
second place of Kaggle's "Mechanisms of Action", github.com/baosenguo/Kaggle-MoA-2nd-Place-Solution:
a dense layer turns the columns into a sequence in which neighbours are related.
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
from chorale.lightning_models.layers import EmbeddingNetwork, dropout_dense, n_values, soft_clip

LAYOUTS: tuple[Layout, ...] = ("table",)
COST = 0.3

SEQUENCE_LENGTH = 32
"""Length of the learned sequence."""


@config
class Config:
    """The shape of the network."""

    order: Literal["given", "learned"] = "given"
    """Whether the sequence is the columns in their order, or the output of a dense layer."""
    n_layers: Annotated[int, Field(ge=1, le=5)] = 2
    """Convolutions, each with a pooling that halves the sequence."""
    width: Annotated[int, Field(ge=4, le=256)] = 32
    """Filters of the first convolution; each further one has twice as many as the one before."""
    kernel: Literal[3, 5, 7] = 3
    """Length of the filters."""
    batch_norm: bool = False
    """Whether each convolution has batch norm."""
    clip: bool = False
    """Whether outliers of a column are soft-clipped."""
    dense: Annotated[int, Field(ge=8, le=1024)] = 64
    """Width of the dense layer."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """Dropout probability before and after the dense layer."""


SPACE: Space = {
    "order": CategoricalDistribution(("given", "learned")),
    "n_layers": IntDistribution(1, 3),
    "width": IntDistribution(16, 64, step=16),
    "kernel": CategoricalDistribution((3, 5, 7)),
    "batch_norm": CategoricalDistribution((False, True)),
    "clip": CategoricalDistribution((False, True)),
    "dense": IntDistribution(32, 256, log=True),
    "dropout": FloatDistribution(0.0, 0.6),
}

DEFAULTS = (
    {  # for little data: learned order, clipped outliers, mixup
        "order": "learned",
        "n_layers": 2,
        "width": 32,
        "kernel": 5,
        "batch_norm": True,
        "clip": True,
        "dense": 64,
        "dropout": 0.4,
        **presets.LITTLE_DATA_TABLE,
    },
    {  # as published, as far as it was published
        "order": "given",
        "n_layers": 2,
        "width": 32,
        "kernel": 3,
        "batch_norm": False,
        "clip": False,
        "dense": 64,
        "dropout": 0.3,
        **presets.PLAIN_ADAM_TABLE,
    },
)


class FeatureCnn(EmbeddingNetwork):
    """Convolution, batch norm, ReLU, pooling, repeated; then a dense layer."""

    def __init__(self, config: Config, n_columns: int, n_classes: int) -> None:
        """See `build`."""
        super().__init__()
        self.clip = config.clip
        channels, n_left = 1, n_columns
        self.order: nn.Module = nn.Unflatten(1, (1, n_columns))
        if config.order == "learned":
            channels, n_left = config.width, SEQUENCE_LENGTH
            self.order = nn.Sequential(
                nn.Linear(n_columns, channels * SEQUENCE_LENGTH),
                nn.ELU(),
                nn.Unflatten(1, (channels, SEQUENCE_LENGTH)),
            )
        blocks: list[nn.Module] = []
        for i in range(config.n_layers):
            width = config.width * 2**i
            blocks.append(nn.Conv1d(channels, width, config.kernel, padding=config.kernel // 2))
            if config.batch_norm:
                blocks.append(nn.BatchNorm1d(width))
            blocks += [nn.ReLU(inplace=True), nn.MaxPool1d(2, ceil_mode=True)]
            channels, n_left = width, -(-n_left // 2)
        self.body = nn.Sequential(*blocks, nn.Flatten())
        self.dense = dropout_dense(channels * n_left, config.dense, dropout=config.dropout)
        self.head = nn.Linear(config.dense, n_classes)

    def embed(self, x: Tensor) -> Tensor:
        """(batch, 1, n_columns, 1) -> output of the dense layer (batch, dense)."""
        x = soft_clip(x.flatten(1)) if self.clip else x.flatten(1)
        sequence = self.order(x)  # (batch, channels, n_places)
        embedding: Tensor = self.dense(self.body(sequence))
        return embedding


def build(config: Config, input_shape: InputShape, n_classes: int) -> nn.Module:
    """A freshly initialised `FeatureCnn` (see `lightning_models.base.Architecture.build`).

    Its pools round up, so that it accepts rows of any width.
    """
    return FeatureCnn(config, n_values(input_shape), n_classes)
