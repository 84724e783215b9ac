"""BC-ResNet: broadcasted residual learning; most operations run on one value for all bins.

Source: Kim, Chang, Lee and Sung 2021, "Broadcasted residual learning for efficient keyword
spotting", arXiv:2106.04140: BC-ResNet-1 to -8 on 1 s of 40 mel bins. Chang, Park, Cho, Park, Yun
and Hwang 2021, "SubSpectral normalization for neural audio data processing", arXiv:2103.13620.
"""

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from chorale.datasets.base import Layout
from chorale.datasets.config import config
from chorale.lightning_models import presets
from chorale.lightning_models.base import InputShape, Space
from chorale.lightning_models.distributions import CategoricalDistribution, FloatDistribution
from chorale.lightning_models.layers import EmbeddingNetwork, conv_norm

LAYOUTS: tuple[Layout, ...] = ("spectrogram", "picture")
COST = 2.2

BASE_CHANNELS = 8
"""Channels of the first stage at tau 1; all others are multiples of it."""

STAGE_SPECS = ((2, 1.0, 1), (2, 1.5, 2), (4, 2.0, 2), (4, 2.5, 1))
"""Of each stage: its blocks, its channels as a multiple of the base, its stride over bins."""

STEM, LAST = 2.0, 4.0
"""Channels of the first and of the last convolution, as multiples of the base."""


@config
class Config:
    """The shape of the network."""

    tau: Annotated[float, Field(ge=1, le=8)] = 2.0
    """Channels of every layer, as a multiple of BC-ResNet-1's."""
    frame_stride: Literal[1, 2, 4] = 2
    """The stride over frames of the first convolution: 1, as published, is for crops of 1 s."""
    n_bands: Annotated[int, Field(ge=1, le=8)] = 5
    """Most bands of sub-spectral normalization; reduced to a divisor of the bins; 1 for none."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Channel dropout probability in each block."""


SPACE: Space = {
    "tau": CategoricalDistribution((1.0, 1.5, 2.0, 3.0, 6.0, 8.0)),
    "frame_stride": CategoricalDistribution((1, 2, 4)),
    "n_bands": CategoricalDistribution((1, 5)),
    "dropout": FloatDistribution(0.0, 0.4),
}

DEFAULTS = (
    {  # for little data and crops of some seconds
        "tau": 2.0,
        "frame_stride": 2,
        "n_bands": 5,
        "dropout": 0.1,
        **presets.LITTLE_DATA,
        "train.lr": 3e-3,
        "train.mixup_alpha": 0.2,
    },
    {  # as published: SGD with warm-up and cosine, SpecAugment
        "tau": 1.0,
        "frame_stride": 1,
        "n_bands": 5,
        "dropout": 0.1,
        "train.optimizer": "sgd",
        "train.sgd_lr": 0.1,
        "train.momentum": 0.9,
        "train.weight_decay": 1e-3,
        "train.schedule": "cosine",
        "train.warm_up": 0.05,
        "train.batch_size": 128,
        "train.mixup_alpha": 0.0,
        "train.label_smoothing": 0.0,
        "train.n_masks": 2,
        "train.bin_mask": 0.07,
        "train.frame_mask": 0.2,
        "train.center": False,
    },
)


class SubSpectralNorm(nn.Module):
    """Sub-spectral normalization: batch norm with separate statistics and weights per band.

    Source: Chang et al. 2021, arXiv:2103.13620.
    """

    def __init__(self, channels: int, n_bins: int, n_bands: int) -> None:
        """Uses the largest number of bands up to `n_bands` that divides `n_bins`."""
        super().__init__()
        self.n_bands = max(n for n in range(1, n_bands + 1) if n_bins % n == 0)
        self.norm = nn.BatchNorm2d(channels * self.n_bands)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, n_bins, n_frames) -> the same shape."""
        batch, channels, n_bins, n_frames = x.shape
        split = x.reshape(batch, channels * self.n_bands, n_bins // self.n_bands, n_frames)
        normed: Tensor = self.norm(split).view(batch, channels, n_bins, n_frames)
        return normed


class Block(nn.Module):
    """Depthwise convolution over bins, plus one over frames of the mean, broadcast to all bins."""

    def __init__(
        self, n_in: int, n_out: int, n_bins: int, *, config: Config, stride: int, dilation: int
    ) -> None:
        """Where the channels change, a 1x1 convolution comes first and there is no residual.

        `n_bins` is the number of output bins.
        """
        super().__init__()
        self.is_residual = n_in == n_out
        self.along_bins = nn.Sequential(
            *([] if self.is_residual else [conv_norm(n_in, n_out, 1)]),
            nn.Conv2d(n_out, n_out, (3, 1), (stride, 1), (1, 0), groups=n_out, bias=False),
            SubSpectralNorm(n_out, n_bins, config.n_bands),
        )
        self.along_frames = nn.Sequential(
            conv_norm(
                n_out, n_out, (1, 3), dilation=(1, dilation), groups=n_out, activation=nn.SiLU
            ),
            nn.Conv2d(n_out, n_out, 1, bias=False),
            nn.Dropout2d(config.dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n_in, n_bins * stride, n_frames) -> (batch, n_out, n_bins, n_frames)."""
        local: Tensor = self.along_bins(x)
        new: Tensor = local + self.along_frames(
            local.mean(dim=2, keepdim=True)
        )  # broadcast over bins
        return (new + x if self.is_residual else new).relu()


class BcResNet(EmbeddingNetwork):
    """A strided convolution, four stages of blocks, a last convolution, mean pooling."""

    def __init__(self, config: Config, input_shape: InputShape, n_classes: int) -> None:
        """See `build`."""
        super().__init__()
        base = int(BASE_CHANNELS * config.tau)
        n_bins = -(-input_shape[1] // 2)
        channels = int(STEM * base)
        layers: list[nn.Module] = [
            conv_norm(input_shape[0], channels, 5, stride=(2, config.frame_stride))
        ]
        for i, (n_blocks, times, stride) in enumerate(STAGE_SPECS):
            n_bins = -(-n_bins // stride)
            for k in range(n_blocks):
                n_in, channels = channels, int(times * base)
                first = stride if k == 0 else 1
                layers.append(
                    Block(n_in, channels, n_bins, config=config, stride=first, dilation=2**i)
                )
        edge = min(5, n_bins)
        self.body = nn.Sequential(
            *layers,
            nn.Conv2d(channels, channels, (edge, 5), padding=(0, 2), groups=channels, bias=False),
            conv_norm(channels, int(LAST * base), 1),
        )
        self.head = nn.Linear(int(LAST * base), n_classes)

    def embed(self, x: Tensor) -> Tensor:
        """(batch, n_channels, n_bins, n_frames) -> mean over all positions (batch, width)."""
        embedding: Tensor = self.body(x).mean(dim=(2, 3))
        return embedding


def build(config: Config, input_shape: InputShape, n_classes: int) -> nn.Module:
    """A freshly initialised `BcResNet` (see `lightning_models.base.Architecture.build`).

    Its strides round up and its last filter shrinks to fit, so that it accepts inputs of any size.
    """
    return BcResNet(config, input_shape, n_classes)
