"""MobileNetV3 of any width: inverted residual blocks with few multiplications.

Source: Howard et al. 2019, "Searching for MobileNetV3", arXiv:1905.02244 (the blocks); Schmid,
Koutini and Widmer 2023, "Efficient large-scale audio tagging via transformer-to-CNN knowledge
distillation", arXiv:2211.04772 (EfficientAT: for audio, at widths from 0.4).
"""

from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from chorale.datasets.base import Layout
from chorale.datasets.config import config
from chorale.lightning_models import presets
from chorale.lightning_models.base import InputShape, Space
from chorale.lightning_models.distributions import CategoricalDistribution, FloatDistribution
from chorale.lightning_models.layers import EmbeddingNetwork, conv_norm, pool_frames

LAYOUTS: tuple[Layout, ...] = ("spectrogram", "picture")
COST = 1.0


class BlockSpec(NamedTuple):
    """One block at width 1: a row of the paper's tables."""

    kernel: int
    inner: int
    """Channels between the block's first and last convolution."""
    out: int
    squeeze: bool
    hard_swish: bool
    stride: int


BLOCK_SPECS = {
    "large": (
        BlockSpec(3, 16, 16, False, False, 1),
        BlockSpec(3, 64, 24, False, False, 2),
        BlockSpec(3, 72, 24, False, False, 1),
        BlockSpec(5, 72, 40, True, False, 2),
        BlockSpec(5, 120, 40, True, False, 1),
        BlockSpec(5, 120, 40, True, False, 1),
        BlockSpec(3, 240, 80, False, True, 2),
        BlockSpec(3, 200, 80, False, True, 1),
        BlockSpec(3, 184, 80, False, True, 1),
        BlockSpec(3, 184, 80, False, True, 1),
        BlockSpec(3, 480, 112, True, True, 1),
        BlockSpec(3, 672, 112, True, True, 1),
        BlockSpec(5, 672, 160, True, True, 2),
        BlockSpec(5, 960, 160, True, True, 1),
        BlockSpec(5, 960, 160, True, True, 1),
    ),
    "small": (
        BlockSpec(3, 16, 16, True, False, 2),
        BlockSpec(3, 72, 24, False, False, 2),
        BlockSpec(3, 88, 24, False, False, 1),
        BlockSpec(5, 96, 40, True, True, 2),
        BlockSpec(5, 240, 40, True, True, 1),
        BlockSpec(5, 240, 40, True, True, 1),
        BlockSpec(5, 120, 48, True, True, 1),
        BlockSpec(5, 144, 48, True, True, 1),
        BlockSpec(5, 288, 96, True, True, 2),
        BlockSpec(5, 576, 96, True, True, 1),
        BlockSpec(5, 576, 96, True, True, 1),
    ),
}
"""The blocks of MobileNetV3-Large and -Small."""

STEM, DENSE, LAST_EXPANSION = 16, {"large": 1280, "small": 1024}, 6
"""At width 1: channels of the first convolution, width of the dense layer; how many times as many
channels the last convolution makes."""


@config
class Config:
    """The shape of the network."""

    size: Literal["large", "small"] = "large"
    """Fifteen blocks, or eleven that stride earlier."""
    width: Annotated[float, Field(ge=0.1, le=4)] = 0.4
    """Channels of every layer, as a multiple of MobileNetV3's."""
    squeeze: bool = True
    """Whether blocks have squeeze-and-excitation, as published."""
    pooling: Literal["mean", "max", "mean_max"] = "mean"
    """How the last block's output is pooled over all positions."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Dropout probability before the last layer."""


SPACE: Space = {
    "size": CategoricalDistribution(("large", "small")),
    "width": FloatDistribution(0.1, 1.0, log=True),
    "squeeze": CategoricalDistribution((True, False)),
    "pooling": CategoricalDistribution(("mean", "max", "mean_max")),
    "dropout": FloatDistribution(0.0, 0.6),
}

DEFAULTS = (
    {  # for little data
        "size": "large",
        "width": 0.4,
        "squeeze": True,
        "pooling": "mean",
        "dropout": 0.3,
        **presets.LITTLE_DATA,
        "train.lr": 2e-3,
    },
    {  # as published, but trained from scratch and without a teacher
        "size": "large",
        "width": 1.0,
        "squeeze": True,
        "pooling": "mean",
        "dropout": 0.2,
        **presets.PLAIN_ADAM,
        "train.lr": 8e-4,
        "train.schedule": "one_cycle",
        "train.batch_size": 64,
        "train.mixup_alpha": 0.3,
        "train.gain_db": 6.0,
    },
)


def round_to_8(channels: float) -> int:
    """The nearest multiple of 8 that is at least 8, and not below `channels` by over a tenth."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near if near >= 0.9 * channels else near + 8


class Depthwise(nn.Conv2d):
    """Depthwise convolution that never runs in bf16 on a CPU.

    There its backward pass takes up to eight times as long in bf16 as in float32, and that of the
    network twice.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, h, w) -> as `nn.Conv2d`, of the same type as `x`."""
        if x.device.type != "cpu":
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float()).to(x.dtype)


class SqueezeExcitation(nn.Module):
    """Squeeze-and-excitation: scales each channel by a factor computed from all channels' means.

    Source: Hu, Shen and Sun 2018, arXiv:1709.01507.
    """

    def __init__(self, channels: int) -> None:
        """The bottleneck has a quarter of the channels."""
        super().__init__()
        inner = round_to_8(channels // 4)
        self.factors = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, inner, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(inner, channels, 1),
            nn.Hardsigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, h, w) -> the same shape."""
        scaled: Tensor = x * self.factors(x)
        return scaled


class InvertedResidual(nn.Module):
    """Inverted residual block: expansion, depthwise convolution, squeeze-excitation, projection."""

    def __init__(self, n_in: int, spec: BlockSpec, *, width: float, squeeze: bool) -> None:
        """`spec` at `width`; a residual is added where input and output have the same shape."""
        super().__init__()
        inner, n_out = round_to_8(spec.inner * width), round_to_8(spec.out * width)
        activation = nn.Hardswish if spec.hard_swish else nn.ReLU
        expand = [conv_norm(n_in, inner, 1, activation=activation)] if inner != n_in else []
        edge = spec.kernel
        depthwise = nn.Sequential(
            Depthwise(inner, inner, edge, spec.stride, edge // 2, groups=inner, bias=False),
            nn.BatchNorm2d(inner),
            activation(),
        )
        excite = [SqueezeExcitation(inner)] if spec.squeeze and squeeze else []
        project = conv_norm(inner, n_out, 1, activation=None)
        self.body = nn.Sequential(*expand, depthwise, *excite, project)
        self.is_residual = spec.stride == 1 and n_in == n_out
        self.n_out = n_out

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n_in, h, w) -> (batch, n_out, h / stride, w / stride), rounded up."""
        new: Tensor = self.body(x)
        return new + x if self.is_residual else new


class MobileNet(EmbeddingNetwork):
    """A strided convolution, inverted residuals, global pooling, a dense layer."""

    def __init__(self, config: Config, n_channels: int, n_classes: int) -> None:
        """See `build`."""
        super().__init__()
        channels = round_to_8(STEM * config.width)
        layers: list[nn.Module] = [
            conv_norm(n_channels, channels, 3, stride=2, activation=nn.Hardswish)
        ]
        for spec in BLOCK_SPECS[config.size]:
            block = InvertedResidual(channels, spec, width=config.width, squeeze=config.squeeze)
            layers.append(block)
            channels = block.n_out
        last = LAST_EXPANSION * channels
        layers.append(conv_norm(channels, last, 1, activation=nn.Hardswish))
        self.body = nn.Sequential(*layers)
        self.pooling = config.pooling
        width = round_to_8(DENSE[config.size] * config.width)
        self.dense = nn.Sequential(
            nn.Linear(last * (2 if config.pooling == "mean_max" else 1), width),
            nn.Hardswish(),
            nn.Dropout(config.dropout),
        )
        self.head = nn.Linear(width, n_classes)

    def embed(self, x: Tensor) -> Tensor:
        """(batch, n_channels, n_bins, n_frames) -> output of the dense layer (batch, width)."""
        x = self.body(x.transpose(2, 3)).flatten(2)  # (batch, channels, n_places)
        embedding: Tensor = self.dense(pool_frames(x, kind=self.pooling, dim=2))
        return embedding


def build(config: Config, input_shape: InputShape, n_classes: int) -> nn.Module:
    """A freshly initialised `MobileNet` (see `lightning_models.base.Architecture.build`).

    Its strides round up, so that it accepts inputs of any size. Its batch norms have momentum
    0.1 instead of the published 0.01: a small corpus has few steps.
    """
    return MobileNet(config, input_shape[0], n_classes)
