"""Linear or shallow probe on the frame embeddings of a frozen, pretrained encoder.

The embeddings are a feature set, computed once and cached; only the pooling and the classifier are
trained, which takes seconds.

Source: Alain and Bengio 2017, "Understanding intermediate layers using linear classifier probes",
arXiv:1610.01644; Turian et al. 2022, "HEAR: holistic evaluation of audio representations",
arXiv:2203.03022 (mean over frames, a shallow network); Snyder et al. 2018, "X-vectors",
doi:10.1109/ICASSP.2018.8461375 (statistics pooling: mean and standard deviation over frames);
Snell, Swersky and Zemel 2017, "Prototypical networks", arXiv:1703.05175, and Gidaris and Komodakis
2018, arXiv:1804.09458 (classes as prototypes, compared by their cosine).
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
from chorale.lightning_models.distributions import CategoricalDistribution, FloatDistribution
from chorale.lightning_models.layers import AttentionPool, EmbeddingNetwork

LAYOUTS: tuple[Layout, ...] = ("embedding",)
COST = 0.1

FIRST_SCALE = 10.0
"""The factor of the cosines before training: with 1, no class could be nearly certain."""

EPSILON = 1e-5
"""Added to a variance before its square root, whose gradient at zero is infinite."""


@config
class Config:
    """The shape of the network."""

    pooling: Literal["mean", "max", "mean_max", "mean_std", "attention"] = "mean"
    """How the frames are pooled; mean_max has both, mean_std adds their standard deviation."""
    batch_norm: bool = True
    """Whether the pooled vector goes through batch norm."""
    hidden: Annotated[int, Field(ge=0, le=2048)] = 0
    """Width of a hidden layer; 0 for none, a linear probe."""
    last: Literal["linear", "prototypes"] = "linear"
    """The last layer; prototypes compares the embedding's direction with one of each class."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Dropout probability before the hidden and before the last layer."""


SPACE: Space = {
    "pooling": CategoricalDistribution(("mean", "max", "mean_max", "mean_std", "attention")),
    "batch_norm": CategoricalDistribution((True, False)),
    "hidden": CategoricalDistribution((0, 128, 256, 512)),
    "last": CategoricalDistribution(("linear", "prototypes")),
    "dropout": FloatDistribution(0.0, 0.6),
}

DEFAULTS = (
    {  # a linear probe
        "pooling": "mean",
        "batch_norm": True,
        "hidden": 0,
        "dropout": 0.2,
        **presets.LITTLE_DATA,
        "train.weight_decay": 1e-2,
        "train.schedule": "cosine",
        "train.mixup_alpha": 0.0,
        "train.center": False,
        "train.crop_s": 30.0,
    },
    {  # a shallow network with statistics pooling
        "pooling": "mean_std",
        "batch_norm": True,
        "hidden": 256,
        "dropout": 0.4,
        **presets.LITTLE_DATA,
        "train.lr": 5e-4,
        "train.weight_decay": 1e-2,
        "train.schedule": "cosine",
        "train.center": False,
        "train.crop_s": 30.0,
    },
)

DOUBLE = ("mean_max", "mean_std")
"""The poolings that give two values for each bin."""


class EncoderProbe(EmbeddingNetwork):
    """Pooling over frames, batch norm, an optional hidden layer, the last layer."""

    def __init__(self, config: Config, n_bins: int, n_classes: int) -> None:
        """See `build`."""
        super().__init__()
        self.pooling = config.pooling
        self.attention = AttentionPool(n_bins) if config.pooling == "attention" else None
        width = n_bins * (2 if config.pooling in DOUBLE else 1)
        layers: list[nn.Module] = []
        if config.batch_norm:
            layers.append(nn.BatchNorm1d(width))
        layers.append(nn.Dropout(config.dropout))
        if config.hidden:
            layers += [nn.Linear(width, config.hidden), nn.ReLU(), nn.Dropout(config.dropout)]
        self.body = nn.Sequential(*layers)
        width = config.hidden or width
        is_linear = config.last == "linear"
        self.head = nn.Linear(width, n_classes) if is_linear else Prototypes(width, n_classes)

    def embed(self, x: Tensor) -> Tensor:
        """(batch, n_channels, n_bins, n_frames) -> (batch, hidden), or the pooled frames."""
        embedding: Tensor = self.body(self._pool(x.flatten(1, 2)))
        return embedding

    def _pool(self, x: Tensor) -> Tensor:
        if self.attention is not None:
            pooled: Tensor = self.attention(x.transpose(1, 2))
            return pooled
        mean = x.mean(dim=2)
        if self.pooling == "mean":
            return mean
        if self.pooling == "max":
            return x.amax(dim=2)
        if self.pooling == "mean_max":
            return torch.cat([mean, x.amax(dim=2)], dim=1)
        deviation = (x.var(dim=2, correction=0) + EPSILON).sqrt()
        return torch.cat([mean, deviation], dim=1)


class Prototypes(nn.Module):
    """A direction of each class: the logits are the scaled cosines with them."""

    def __init__(self, width: int, n_classes: int) -> None:
        """For embeddings of `width` values."""
        super().__init__()
        self.directions = nn.Parameter(torch.randn(n_classes, width))
        self.log_scale = nn.Parameter(torch.tensor(FIRST_SCALE).log())

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width) -> (batch, n_classes)."""
        cosines = F.normalize(x, dim=1) @ F.normalize(self.directions, dim=1).T
        scaled: Tensor = self.log_scale.exp() * cosines
        return scaled


def build(config: Config, input_shape: InputShape, n_classes: int) -> nn.Module:
    """A freshly initialised `EncoderProbe` (see `lightning_models.base.Architecture.build`).

    It accepts inputs of one frame.
    """
    return EncoderProbe(config, input_shape[0] * input_shape[1], n_classes)
