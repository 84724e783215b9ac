"""1-D CNN along a table's columns, after report E.

Source: report E, "Genre recognition": Conv1D(32, 3, same), pool 2, Conv1D(64, 3), dropout,
Conv1D(128, 5), pool 2, dropout, flatten, dense 128, 64, 32 and 16 classes: 2,122,800 parameters on
518 features of FMA.
"""

from dataclasses import replace
from itertools import pairwise
from typing import Annotated

import torch.nn.functional as F
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
from chorale.lightning_models.layers import EmbeddingNetwork, n_values, soft_clip

LAYOUTS: tuple[Layout, ...] = ("table",)
COST = 0.35

MIN_COLUMNS = 16
"""The narrowest row that the convolutions and pools reduce to one position: 16, 8, 6, 2, 1."""


@config
class Config:
    """The shape of the network."""

    width: Annotated[int, Field(ge=4, le=128)] = 32
    """Filters of the first convolution; the second has twice, the third four times as many."""
    batch_norm: bool = False
    """Whether each convolution has batch norm."""
    clip: bool = False
    """Whether outliers of a column are soft-clipped."""
    dense: Annotated[int, Field(ge=16, le=1024)] = 128
    """Width of the first dense layer; the second has half, the third a quarter of it."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """Dropout probability after the second and the third convolution."""


SPACE: Space = {
    "width": IntDistribution(8, 48, step=8),
    "batch_norm": CategoricalDistribution((False, True)),
    "clip": CategoricalDistribution((False, True)),
    "dense": IntDistribution(32, 256, log=True),
    "dropout": FloatDistribution(0.0, 0.6),
}

DEFAULTS = (
    {  # for little data: narrower, batch norm, clipped outliers, mixup
        "width": 16,
        "batch_norm": True,
        "clip": True,
        "dense": 128,
        "dropout": 0.4,
        **presets.LITTLE_DATA_TABLE,
        "train.balance": "none",
    },
    {  # the layers and SMOTE as published; dropout and optimizer were not published
        "width": 32,
        "batch_norm": False,
        "clip": False,
        "dense": 128,
        "dropout": 0.3,
        **presets.PLAIN_ADAM_TABLE,
        "train.balance": "sampling",
        "train.synthetic": True,
    },
)


class Conv1d(EmbeddingNetwork):
    """Three convolutions along the columns, two pools, three dense layers."""

    def __init__(self, config: Config, n_columns: int, n_classes: int) -> None:
        """See `build`."""
        super().__init__()
        first, second, third = (config.width * k for k in (1, 2, 4))
        self.clip = config.clip
        self.n_padding = max(0, MIN_COLUMNS - n_columns)
        n_left = (n_columns + self.n_padding) // 2  # the first convolution is padded
        n_left = (n_left - 2 - 4) // 2  # the others are not
        self.body = nn.Sequential(
            *_convolution(1, first, config, kernel=3, padding=1),
            nn.MaxPool1d(2),
            *_convolution(first, second, config, kernel=3),
            nn.Dropout(config.dropout),
            *_convolution(second, third, config, kernel=5),
            nn.MaxPool1d(2),
            nn.Dropout(config.dropout),
            nn.Flatten(),
        )
        widths = (third * n_left, config.dense, config.dense // 2, config.dense // 4)
        dense: list[nn.Module] = []
        for n_in, n_out in pairwise(widths):
            dense += [nn.Linear(n_in, n_out), nn.ReLU(inplace=True)]
        self.dense = nn.Sequential(*dense)
        self.head = nn.Linear(widths[-1], n_classes)

    def embed(self, x: Tensor) -> Tensor:
        """(batch, 1, n_columns, 1) -> output of the last dense layer (batch, dense // 4)."""
        x = soft_clip(x.flatten(1)) if self.clip else x.flatten(1)
        x = F.pad(x, (0, self.n_padding)).unsqueeze(1)  # (batch, 1, n_columns)
        embedding: Tensor = self.dense(self.body(x))
        return embedding


def _convolution(
    n_in: int, n_out: int, config: Config, *, kernel: int, padding: int = 0
) -> list[nn.Module]:
    norm = [nn.BatchNorm1d(n_out)] if config.batch_norm else []
    return [nn.Conv1d(n_in, n_out, kernel, padding=padding), *norm, nn.ReLU(inplace=True)]


def build(config: Config, input_shape: InputShape, n_classes: int) -> nn.Module:
    """A freshly initialised `Conv1d` (see `lightning_models.base.Architecture.build`).

    Rows of fewer columns than the published layers need are padded with zeros.
    """
    return Conv1d(config, n_values(input_shape), n_classes)


def chain(network: Conv1d) -> list[Link]:
    """The chain of its layers, for pruning (see `lightning_models.base.Architecture`)."""
    convolutions = [part for part in network.body if isinstance(part, nn.Conv1d)]
    norms: list[nn.Module | None] = [p for p in network.body if isinstance(p, nn.BatchNorm1d)]
    norms = norms or [None] * len(convolutions)
    links = [Link(layer, norm) for layer, norm in zip(convolutions, norms, strict=True)]
    links += [Link(part) for part in network.dense if isinstance(part, nn.Linear)]
    return [*links, Link(network.head)]


def narrowed(config: Config, share: float) -> Config:
    """A config with about that share of filters and units, for pruning."""
    width, dense = max(4, round(config.width * share)), max(16, round(config.dense * share))
    return replace(config, width=min(width, config.width), dense=min(dense, config.dense))
