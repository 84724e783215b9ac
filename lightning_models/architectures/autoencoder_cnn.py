"""Convolutional autoencoder (undercomplete) with a convolutional classifier on its latent.

Source: report A, "Deep Learning major project": an encoder of 4-16-32-64-128 channels (3x3, stride
2, ReLU) on RGBA pictures of mel spectrograms with a mirrored transposed decoder, and a CNN on the
latent. Masci et al. 2011, "Stacked Convolutional Auto-Encoders", doi:10.1007/978-3-642-21735-7_7.
"""

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal

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
from chorale.lightning_models.layers import EmbeddingNetwork, dropout_dense, pool_frames

if TYPE_CHECKING:
    from chorale.lightning_models.training.module import GenreClassifier

LAYOUTS: tuple[Layout, ...] = ("picture", "spectrogram")
COST = 0.6


@config
class Config:
    """The shape of the network, and how its reconstruction is trained."""

    n_layers: Annotated[int, Field(ge=1, le=5)] = 4
    """Convolutions of the encoder, each of which halves bins and frames and doubles channels."""
    width: Annotated[int, Field(ge=4, le=64)] = 16
    """Filters of the encoder's first convolution."""
    mode: Literal["first", "jointly"] = "jointly"
    """Whether reconstruction is a pretraining or an auxiliary loss."""
    pretrain: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """The share of the epochs for pretraining, with mode first."""
    freeze: bool = False
    """Whether the encoder is frozen after pretraining."""
    weight: Annotated[float, Field(ge=0, le=100)] = 1.0
    """Weight of the reconstruction loss, with mode jointly."""
    n_convolutions: Annotated[int, Field(ge=1, le=3)] = 2
    """Convolutions of the classifier on the latent."""
    filters: Annotated[int, Field(ge=8, le=256)] = 64
    """Filters of each of them."""
    dense: Annotated[int, Field(ge=8, le=1024)] = 64
    """Width of the dense layer."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """Dropout probability before and after the dense layer."""


SPACE: Space = {
    "n_layers": IntDistribution(2, 4),
    "width": IntDistribution(8, 32, step=8),
    "mode": CategoricalDistribution(("first", "jointly")),
    "pretrain": CategoricalDistribution((0.2, 0.35, 0.5)),
    "freeze": CategoricalDistribution((False, True)),
    "weight": FloatDistribution(0.03, 10.0, log=True),
    "n_convolutions": IntDistribution(1, 3),
    "filters": IntDistribution(32, 96, step=32),
    "dense": IntDistribution(32, 256, log=True),
    "dropout": FloatDistribution(0.0, 0.6),
}

DEFAULTS = (
    {  # for little data: reconstruction as regularization
        "n_layers": 4,
        "width": 16,
        "mode": "jointly",
        "weight": 0.3,
        "n_convolutions": 2,
        "filters": 64,
        "dense": 64,
        "dropout": 0.4,
        **presets.LITTLE_DATA,
    },
    {  # the published encoder and decoder: pretrained, then frozen
        "n_layers": 4,
        "width": 16,
        "mode": "first",
        "pretrain": 0.5,
        "freeze": True,
        "n_convolutions": 2,
        "filters": 64,
        "dense": 64,
        "dropout": 0.3,
        **presets.PLAIN_ADAM,
        "train.batch_size": 64,
    },
)


class AutoencoderCnn(EmbeddingNetwork):
    """Strided convolutions to a latent, a decoder, and a classifier on the latent.

    `lightning_models.training.reconstruction` trains both. Inference does not need the decoder.
    """

    auxiliary = ("decoder",)

    def __init__(self, config: Config, input_shape: InputShape, n_classes: int) -> None:
        """See `build`."""
        super().__init__()
        n_channels, n_bins, _ = input_shape
        widths = [n_channels, *(config.width * 2**i for i in range(config.n_layers))]
        steps = list(pairwise(widths))
        self.encoder = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in steps)
        self.decoder = nn.ModuleList(
            nn.ConvTranspose2d(b, a, 3, stride=2, padding=1) for a, b in reversed(steps)
        )
        blocks: list[nn.Module] = []
        channels, n_bins = widths[-1], -(-n_bins // 2**config.n_layers)
        for _ in range(config.n_convolutions):
            blocks += [
                nn.Conv2d(channels, config.filters, 3, padding=1),
                nn.ReLU(inplace=True),
                nn.BatchNorm2d(config.filters),
            ]
            channels = config.filters
        self.classifier = nn.Sequential(*blocks)
        self.dense = dropout_dense(2 * channels * n_bins, config.dense, dropout=config.dropout)
        self.head = nn.Linear(config.dense, n_classes)

    def embed(self, x: Tensor) -> Tensor:
        """(batch, n_channels, n_bins, n_frames) -> output of the dense layer (batch, dense)."""
        return self._embed_latent(self._encode(x)[0])

    def reconstruct(self, x: Tensor) -> Tensor:
        """The reconstruction of `x`, of the same shape."""
        latent, sizes = self._encode(x)
        return self._decode(latent, sizes)

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (batch, n_classes) and the reconstruction of `x`, from one latent."""
        latent, sizes = self._encode(x)
        logits: Tensor = self.head(self._embed_latent(latent))
        return logits, self._decode(latent, sizes)

    def _encode(self, x: Tensor) -> tuple[Tensor, list[list[int]]]:
        """The latent (batch, channels, n_frames, n_bins), and the input size of each layer."""
        x = x.transpose(2, 3)  # frames are contiguous, so this order needs no copy
        sizes = []
        for layer in self.encoder:
            sizes.append(list(x.shape[2:]))
            x = layer(x).relu()
        return x, sizes

    def _decode(self, latent: Tensor, sizes: list[list[int]]) -> Tensor:
        x = latent
        for i, layer in enumerate(self.decoder):
            if i:
                x = x.relu()  # not after the last: standardized values may be negative
            x = layer(x, output_size=sizes[-1 - i])  # resolves odd sizes
        return x.transpose(2, 3)

    def _embed_latent(self, latent: Tensor) -> Tensor:
        pooled = pool_frames(self.classifier(latent), kind="mean_max", dim=2)
        embedding: Tensor = self.dense(pooled.flatten(1))
        return embedding


def build(config: Config, input_shape: InputShape, n_classes: int) -> nn.Module:
    """A freshly initialised `AutoencoderCnn` (see `lightning_models.base.Architecture.build`).

    Its convolutions round up, so that it accepts inputs of any size.
    """
    return AutoencoderCnn(config, input_shape, n_classes)


def module_class() -> type["GenreClassifier"]:
    """Its LightningModule (see `lightning_models.base.Architecture`)."""
    from chorale.lightning_models.training.reconstruction import ReconstructionClassifier

    return ReconstructionClassifier
