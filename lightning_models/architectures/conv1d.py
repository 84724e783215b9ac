"""A one-dimensional convolutional network along a table's columns: report E's best.

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

from chorale.datasets.config import config
from chorale.lightning_models.base import InputShape, Link, Space
from chorale.lightning_models.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from chorale.lightning_models.layers import Classifier, n_values, soft_clip

FEATURES = ("stats518", "stats57", "table")

MIN_COLUMNS = 16
"""The narrowest row of which convolutions and pools leave something: 16, 8, 6, 2, 1."""


@config
class Config:
    """The shape of the network."""

    width: Annotated[int, Field(ge=4, le=128)] = 32
    """Filters of the first convolution; the second has twice, the third four times as many."""
    batch_norm: bool = False
    """Whether each convolution is normalised."""
    clip: bool = False
    """Whether outliers of a column are pulled in."""
    dense: Annotated[int, Field(ge=16, le=1024)] = 128
    """Width of the first dense layer; the second has half, the third a quarter of it."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """The share of values that training drops after the second convolution and the third."""


SPACE: Space = {
    "width": IntDistribution(8, 48, step=8),
    "batch_norm": CategoricalDistribution((False, True)),
    "clip": CategoricalDistribution((False, True)),
    "dense": IntDistribution(32, 256, log=True),
    "dropout": FloatDistribution(0.0, 0.6),
}

DEFAULTS = (
    {  # for little data: narrower, normalised, outliers pulled in, rows and labels blended
        "width": 16,
        "batch_norm": True,
        "clip": True,
        "dense": 128,
        "dropout": 0.4,
        "train.optimizer": "adamw",
        "train.lr": 1e-3,
        "train.weight_decay": 1e-2,
        "train.schedule": "one_cycle",
        "train.balance": "none",
        "train.batch_size": 32,
        "train.mixup_alpha": 0.2,
        "train.label_smoothing": 0.1,
    },
    {  # the layers as published, and SMOTE; dropout's share and the optimizer were not
        "width": 32,
        "batch_norm": False,
        "clip": False,
        "dense": 128,
        "dropout": 0.3,
        "train.optimizer": "adam",
        "train.lr": 1e-3,
        "train.weight_decay": 1e-5,
        "train.schedule": "constant",
        "train.balance": "sampling",
        "train.synthetic": True,
        "train.batch_size": 32,
        "train.mixup_alpha": 0.0,
        "train.label_smoothing": 0.0,
    },
)


class Conv1d(Classifier):
    """Three convolutions along the columns, two pools, three dense layers."""

    def __init__(self, config: Config, n_columns: int, n_classes: int) -> None:
        """See `build`."""
        super().__init__()
        first, second, third = (config.width * k for k in (1, 2, 4))
        self.clip = config.clip
        self.n_missing = max(0, MIN_COLUMNS - n_columns)
        n_left = (n_columns + self.n_missing) // 2  # padding keeps the first one's length
        n_left = (n_left - 2 - 4) // 2  # the others lose what sticks out
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
        """(batch, 1, n_columns, 1) -> what the last dense layer says (batch, dense // 4)."""
        x = soft_clip(x.flatten(1)) if self.clip else x.flatten(1)
        x = F.pad(x, (0, self.n_missing)).unsqueeze(1)  # (batch, 1, n_columns)
        embedding: Tensor = self.dense(self.body(x))
        return embedding


def _convolution(
    n_in: int, n_out: int, config: Config, *, kernel: int, padding: int = 0
) -> list[nn.Module]:
    norm = [nn.BatchNorm1d(n_out)] if config.batch_norm else []
    return [nn.Conv1d(n_in, n_out, kernel, padding=padding), *norm, nn.ReLU(inplace=True)]


def build(config: Config, input_shape: InputShape, n_classes: int) -> nn.Module:
    """A freshly initialised `Conv1d` (see `lightning_models.base.Architecture.build`).

    Rows of fewer columns than the published layers need are filled up with zeros.
    """
    return Conv1d(config, n_values(input_shape), n_classes)


def chain(network: Conv1d) -> list[Link]:
    """Its layers (see `lightning_models.base.Architecture`)."""
    convolutions = [part for part in network.body if isinstance(part, nn.Conv1d)]
    norms: list[nn.Module | None] = [p for p in network.body if isinstance(p, nn.BatchNorm1d)]
    norms = norms or [None] * len(convolutions)
    links = [Link(layer, norm) for layer, norm in zip(convolutions, norms, strict=True)]
    links += [Link(part) for part in network.dense if isinstance(part, nn.Linear)]
    return [*links, Link(network.head)]


def narrowed(config: Config, share: float) -> Config:
    """About that share of its filters and units (see `lightning_models.base.Architecture`)."""
    width, dense = max(4, round(config.width * share)), max(16, round(config.dense * share))
    return replace(config, width=min(width, config.width), dense=min(dense, config.dense))
