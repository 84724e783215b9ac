"""MLP: a multilayer perceptron on a table's columns, after report E, with variants.

Source: report E, "Genre recognition": MLPs of 3 and of 4 hidden layers on 518 features of FMA.
"""

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
from chorale.lightning_models.layers import EmbeddingNetwork, n_values, soft_clip

LAYOUTS: tuple[Layout, ...] = ("table",)
COST = 0.1

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
}


@config
class Config:
    """The shape of the network."""

    n_layers: Annotated[int, Field(ge=1, le=4)] = 3
    """Hidden layers."""
    width: Annotated[int, Field(ge=8, le=2048)] = 256
    """Width of the first hidden layer."""
    shrink: Annotated[float, Field(ge=0.25, le=1)] = 0.5
    """Factor by which each further hidden layer is narrower."""
    batch_norm: bool = False
    """Whether each hidden layer has batch norm before its activation."""
    activation: Literal["relu", "gelu", "silu", "elu"] = "relu"
    """Activation of the hidden layers."""
    clip: bool = False
    """Whether outliers of a column are soft-clipped."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """Dropout probability after each hidden layer."""


SPACE: Space = {
    "n_layers": IntDistribution(1, 4),
    "width": IntDistribution(32, 512, log=True),
    "shrink": CategoricalDistribution((0.5, 1.0)),
    "batch_norm": CategoricalDistribution((False, True)),
    "activation": CategoricalDistribution(("relu", "gelu", "silu", "elu")),
    "clip": CategoricalDistribution((False, True)),
    "dropout": FloatDistribution(0.0, 0.6),
}

_PUBLISHED = {
    "shrink": 0.5,
    "batch_norm": False,
    "activation": "relu",
    "clip": False,
    "dropout": 0.3,
    **presets.PLAIN_ADAM_TABLE,
}
"""Only the number of layers is published; the rest is common practice."""

DEFAULTS = (
    {  # for little data: batch norm, clipped outliers, mixup
        "n_layers": 2,
        "width": 256,
        "shrink": 1.0,
        "batch_norm": True,
        "activation": "silu",
        "clip": True,
        "dropout": 0.4,
        **presets.LITTLE_DATA_TABLE,
        "train.lr": 2e-3,
    },
    {"n_layers": 3, "width": 256, **_PUBLISHED},  # 256, 128, 64
    {"n_layers": 4, "width": 512, **_PUBLISHED},  # 512, 256, 128, 64
)


class Mlp(EmbeddingNetwork):
    """Linear layer, batch norm, activation, dropout, repeated."""

    def __init__(self, config: Config, n_columns: int, n_classes: int) -> None:
        """See `build`."""
        super().__init__()
        layers: list[nn.Module] = []
        width = n_columns
        for i in range(config.n_layers):
            n_in, width = width, max(2, round(config.width * config.shrink**i))
            layers.append(nn.Linear(n_in, width))
            if config.batch_norm:
                layers.append(nn.BatchNorm1d(width))
            layers += [ACTIVATIONS[config.activation](), nn.Dropout(config.dropout)]
        self.clip = config.clip
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(width, n_classes)

    def embed(self, x: Tensor) -> Tensor:
        """(batch, 1, n_columns, 1) -> the last hidden layer (batch, width of it)."""
        x = x.flatten(1)
        if self.clip:
            x = soft_clip(x)
        embedding: Tensor = self.body(x)
        return embedding


def build(config: Config, input_shape: InputShape, n_classes: int) -> nn.Module:
    """A freshly initialised `Mlp` (see `lightning_models.base.Architecture.build`).

    It accepts rows of any width.
    """
    return Mlp(config, n_values(input_shape), n_classes)


def chain(network: Mlp) -> list[Link]:
    """The chain of its layers, for pruning (see `lightning_models.base.Architecture`)."""
    layers = [part for part in network.body if isinstance(part, nn.Linear)]
    norms: list[nn.Module | None] = [p for p in network.body if isinstance(p, nn.BatchNorm1d)]
    norms = norms or [None] * len(layers)
    hidden = [Link(layer, norm) for layer, norm in zip(layers, norms, strict=True)]
    return [*hidden, Link(network.head)]


def narrowed(config: Config, share: float) -> Config:
    """A config with about that share of units, for pruning."""
    return replace(config, width=min(config.width, max(8, round(config.width * share))))
