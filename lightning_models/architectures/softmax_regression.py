"""Softmax regression: one linear layer on a table's columns, a baseline for deeper networks.

Its embedding is the row itself.

Source: report E, "Genre recognition": softmax regression on 518 features of FMA. Wager, Wang and
Liang 2013, arXiv:1307.1493 (dropping columns is a penalty on the weights that fits their scale).
"""

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from chorale.datasets.base import Layout
from chorale.datasets.config import config
from chorale.lightning_models import presets
from chorale.lightning_models.base import InputShape, Space
from chorale.lightning_models.distributions import CategoricalDistribution, FloatDistribution
from chorale.lightning_models.layers import EmbeddingNetwork, n_values, soft_clip

LAYOUTS: tuple[Layout, ...] = ("table",)
COST = 0.05


@config
class Config:
    """The shape of the network."""

    clip: bool = False
    """Whether outliers of a column are soft-clipped."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout probability of a column."""


SPACE: Space = {
    "clip": CategoricalDistribution((False, True)),
    "dropout": FloatDistribution(0.0, 0.5),
}

DEFAULTS = (
    {  # for little data: clipped outliers, weight decay, label smoothing
        "clip": True,
        "dropout": 0.2,
        **presets.LITTLE_DATA_TABLE,
        "train.lr": 3e-3,
        "train.mixup_alpha": 0.0,
    },
    {  # the layer as published; its training was not published
        "clip": False,
        "dropout": 0.0,
        **presets.PLAIN_ADAM_TABLE,
    },
)


class SoftmaxRegression(EmbeddingNetwork):
    """A linear layer."""

    def __init__(self, config: Config, n_columns: int, n_classes: int) -> None:
        """See `build`."""
        super().__init__()
        self.clip = config.clip
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(n_columns, n_classes)

    def embed(self, x: Tensor) -> Tensor:
        """(batch, 1, n_columns, 1) -> the rows themselves, or clipped (batch, n_columns)."""
        x = x.flatten(1)
        embedding: Tensor = self.dropout(soft_clip(x) if self.clip else x)
        return embedding


def build(config: Config, input_shape: InputShape, n_classes: int) -> nn.Module:
    """A freshly initialised `SoftmaxRegression` (see `lightning_models.base.Architecture.build`).

    It accepts rows of any width.
    """
    return SoftmaxRegression(config, n_values(input_shape), n_classes)
