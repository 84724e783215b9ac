"""Four wide-eyed convolutions: the smallest of the networks known as PANNs.

Source: Kong, Cao, Iqbal, Wang, Wang and Plumbley 2020, "PANNs: large-scale pretrained audio neural
networks for audio pattern recognition", arXiv:1912.10211: CNN6, four 5x5 convolutions of 64 to 512
filters with 2x2 mean pooling on 64 mel bins. Here the input's batch norm is left out: features
come standardised.
"""

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from chorale.datasets.config import config
from chorale.lightning_models.base import InputShape, Space
from chorale.lightning_models.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from chorale.lightning_models.layers import Classifier, conv_norm, dense

FEATURES = ("mel", "mfcc", "stft", "spectrogram_image")


@config
class Config:
    """The shape of the network."""

    n_blocks: Annotated[int, Field(ge=1, le=5)] = 4
    """Convolutions, each followed by a pooling that halves bins and frames."""
    width: Annotated[int, Field(ge=4, le=64)] = 16
    """Filters of the first convolution; each further one has twice as many."""
    kernel: Literal[3, 5] = 5
    """Edge of the filters."""
    dense: Annotated[int, Field(ge=8, le=1024)] = 512
    """Width of the dense layer."""
    conv_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """The share of whole channels that training drops after each pooling."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """The share of values that training drops before the dense layer and after it."""


SPACE: Space = {
    "n_blocks": IntDistribution(3, 4),
    "width": IntDistribution(16, 64, log=True),
    "kernel": CategoricalDistribution((3, 5)),
    "dense": IntDistribution(64, 512, log=True),
    "conv_dropout": FloatDistribution(0.0, 0.3),
    "dropout": FloatDistribution(0.0, 0.6),
}

DEFAULTS = (
    {  # for little data: a quarter as wide, with less dropped: it has few steps to learn in
        "n_blocks": 4,
        "width": 16,
        "kernel": 5,
        "dense": 128,
        "conv_dropout": 0.0,
        "dropout": 0.2,
        "train.optimizer": "adamw",
        "train.lr": 2e-3,
        "train.weight_decay": 1e-3,
        "train.schedule": "one_cycle",
        "train.batch_size": 32,
        "train.mixup_alpha": 0.3,
        "train.label_smoothing": 0.1,
        "train.n_masks": 0,
        "train.center": True,
    },
    {  # as published, with mixup and SpecAugment as there
        "n_blocks": 4,
        "width": 64,
        "kernel": 5,
        "dense": 512,
        "conv_dropout": 0.2,
        "dropout": 0.5,
        "train.optimizer": "adam",
        "train.lr": 1e-3,
        "train.weight_decay": 1e-5,
        "train.schedule": "constant",
        "train.batch_size": 32,
        "train.mixup_alpha": 0.5,
        "train.label_smoothing": 0.0,
        "train.n_masks": 2,
        "train.bin_mask": 0.12,
        "train.frame_mask": 0.06,
        "train.center": False,
    },
)


class Cnn6(Classifier):
    """Convolution, batch norm, ReLU and mean pooling, some times over; then frames are pooled."""

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
        self.dense = dense(widths[-1], config.dense, dropout=config.dropout)
        self.head = nn.Linear(config.dense, n_classes)

    def embed(self, x: Tensor) -> Tensor:
        """(batch, n_channels, n_bins, n_frames) -> what the dense layer says (batch, dense)."""
        frames = self.body(x.transpose(2, 3)).mean(dim=3)  # (batch, width, n_frames)
        embedding: Tensor = self.dense(frames.amax(dim=2) + frames.mean(dim=2))
        return embedding


def build(config: Config, input_shape: InputShape, n_classes: int) -> nn.Module:
    """A freshly initialised `Cnn6` (see `lightning_models.base.Architecture.build`).

    Its pools round up, so that no input is too small for it.
    """
    return Cnn6(config, input_shape, n_classes)
