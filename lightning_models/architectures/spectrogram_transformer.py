"""Spectrogram transformer (AST) on patches of a spectrogram, with patchout in training.

Source: Gong, Chung and Glass 2021, "AST: audio spectrogram transformer", arXiv:2104.01778; Koutini,
Schlüter, Eghbal-zadeh and Widmer 2022, "Efficient training of audio transformers with patchout",
arXiv:2110.05069 (patchout, and separate positions in bins and in frames); Beyer, Zhai and
Kolesnikov 2022, "Better plain ViT baselines for ImageNet-1k", arXiv:2205.01580 (sinusoidal
positions in two dimensions, mean pooling); Xiao et al. 2021, "Early convolutions help transformers
see better", arXiv:2106.14881 (the stem); Huang et al. 2016, "Deep networks with stochastic depth",
arXiv:1603.09382.
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
from chorale.lightning_models.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from chorale.lightning_models.layers import EmbeddingNetwork, conv_norm

LAYOUTS: tuple[Layout, ...] = ("spectrogram", "picture")
COST = 1.6

LONGEST_WAVE = 1e4
"""Wavelength of the slowest sine in patches, over 2 pi."""

INITIAL_STD = 0.02
"""Initial standard deviation of learned positions and of the class token."""


@config
class Config:
    """The shape of the network."""

    stem: Literal["convolutions", "patches"] = "convolutions"
    """Whether patches are embedded by small strided convolutions, or by one matrix, as in AST."""
    patch_bins: Literal[8, 16, 32] = 16
    """Bins of a patch; patches do not overlap."""
    patch_frames: Literal[4, 8, 16] = 8
    """Frames of a patch."""
    positions: Literal["sines", "learned"] = "sines"
    """Position embeddings; learned ones are interpolated for longer crops."""
    depth: Annotated[int, Field(ge=1, le=12)] = 4
    """Number of transformer layers."""
    width: Annotated[int, Field(ge=64, le=768, multiple_of=64)] = 128
    """Width of a patch's embedding."""
    n_heads: Literal[2, 4, 8] = 4
    """Attention heads."""
    expansion: Literal[2, 4] = 4
    """Width of the feed-forward layer as a multiple of the embedding's."""
    pooling: Literal["mean", "cls"] = "mean"
    """Mean over patches, or a class token."""
    patch_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.25
    """Patchout: the share of patches left out in training, which also makes it faster."""
    layer_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Stochastic depth: the probability that a crop skips a branch of a layer."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Dropout probability before the last layer."""


SPACE: Space = {
    "stem": CategoricalDistribution(("convolutions", "patches")),
    "patch_bins": CategoricalDistribution((8, 16)),
    "patch_frames": CategoricalDistribution((4, 8, 16)),
    "positions": CategoricalDistribution(("sines", "learned")),
    "depth": IntDistribution(2, 6),
    "width": IntDistribution(64, 192, step=64),
    "n_heads": CategoricalDistribution((2, 4, 8)),
    "expansion": CategoricalDistribution((2, 4)),
    "pooling": CategoricalDistribution(("mean", "cls")),
    "patch_dropout": FloatDistribution(0.0, 0.5),
    "layer_dropout": FloatDistribution(0.0, 0.3),
    "dropout": FloatDistribution(0.0, 0.6),
}

DEFAULTS = (
    {  # for little data: a hundredth of AST's weights, patchout of a quarter
        "stem": "convolutions",
        "patch_bins": 16,
        "patch_frames": 8,
        "positions": "sines",
        "depth": 4,
        "width": 128,
        "n_heads": 4,
        "expansion": 4,
        "pooling": "mean",
        "patch_dropout": 0.25,
        "layer_dropout": 0.1,
        "dropout": 0.1,
        **presets.LITTLE_DATA,
        "train.weight_decay": 1e-2,
    },
    {  # close to AST with patchout: square patches, learned positions, class token, half left out
        "stem": "patches",
        "patch_bins": 16,
        "patch_frames": 16,
        "positions": "learned",
        "depth": 6,
        "width": 192,
        "n_heads": 2,
        "expansion": 4,
        "pooling": "cls",
        "patch_dropout": 0.5,
        "layer_dropout": 0.1,
        "dropout": 0.0,
        **presets.LITTLE_DATA,
        "train.lr": 5e-4,
        "train.weight_decay": 1e-2,
        "train.schedule": "cosine",
        "train.warm_up": 0.1,
        "train.n_masks": 2,
        "train.bin_mask": 0.2,
        "train.frame_mask": 0.2,
    },
)


def build_stem(config: Config, n_channels: int) -> nn.Module:
    """Patch embedding of (batch, n_channels, n_frames, n_bins): a vector for each patch.

    Its convolutions halve frames and bins until a patch is one position, and double the channels.
    """
    patch = (config.patch_frames, config.patch_bins)
    if config.stem == "patches":
        return nn.Conv2d(n_channels, config.width, patch, patch)
    n_halvings = [edge.bit_length() - 1 for edge in patch]
    layers: list[nn.Module] = []
    for i in range(max(n_halvings)):
        along_frames, along_bins = (2 if i < n else 1 for n in n_halvings)
        width = config.width >> (max(n_halvings) - 1 - i)
        layers.append(conv_norm(n_channels, width, 3, stride=(along_frames, along_bins)))
        n_channels = width
    return nn.Sequential(*layers, nn.Conv2d(n_channels, config.width, 1))


def sinusoidal_positions(n: int, width: int, device: torch.device | None = None) -> Tensor:
    """Sinusoidal embeddings of positions 0 to n - 1: (n, width)."""
    place = torch.arange(n, device=device, dtype=torch.float32)
    share = torch.arange(width // 2, device=device, dtype=torch.float32) / (width // 2)
    angles = place[:, None] * LONGEST_WAVE**-share
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class SinusoidalPositions(nn.Module):
    """Sinusoidal positions: half the values for the bins, half for the frames."""

    def __init__(self, width: int) -> None:
        """For patches of `width` values."""
        super().__init__()
        self.width = width

    def forward(self, patches: Tensor) -> Tensor:
        """(batch, n_frame_patches, n_bin_patches, width) -> the same shape but for the batch."""
        _, n_frames, n_bins, _ = patches.shape
        along_frames = sinusoidal_positions(n_frames, self.width // 2, patches.device)[:, None]
        along_bins = sinusoidal_positions(n_bins, self.width // 2, patches.device)[None]
        return torch.cat(
            [along_frames.expand(-1, n_bins, -1), along_bins.expand(n_frames, -1, -1)], dim=2
        )


class LearnedPositions(nn.Module):
    """Learned positions: a vector for the bins plus one for the frames."""

    def __init__(self, width: int, n_frames: int, n_bins: int) -> None:
        """For patches of `width` values; a training crop has `n_frames` by `n_bins` patches."""
        super().__init__()
        self.along_frames = nn.Parameter(torch.empty(n_frames, 1, width))
        self.along_bins = nn.Parameter(torch.empty(1, n_bins, width))
        for positions in (self.along_frames, self.along_bins):
            nn.init.trunc_normal_(positions, std=INITIAL_STD)

    def forward(self, patches: Tensor) -> Tensor:
        """As `SinusoidalPositions`; interpolated for longer crops, truncated for shorter ones."""
        n_frames = patches.shape[1]
        along_frames = self.along_frames[:n_frames]
        if n_frames > len(along_frames):
            rows = along_frames.permute(1, 2, 0)  # (1, width, n_frames)
            rows = F.interpolate(rows, size=n_frames, mode="linear")
            along_frames = rows.permute(2, 0, 1)
        return along_frames + self.along_bins


class TransformerLayer(nn.Module):
    """Pre-norm transformer layer: multi-head self-attention and a feed-forward network."""

    def __init__(self, config: Config) -> None:
        """Pre-norm, so that deep networks train without a long warm-up."""
        super().__init__()
        width, inner = config.width, config.width * config.expansion
        self.n_heads, self.dropout = config.n_heads, config.layer_dropout
        self.norm = nn.LayerNorm(width)
        self.ask = nn.Linear(width, 3 * width)
        self.answer = nn.Linear(width, width)
        self.think = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, inner),
            nn.GELU(),
            nn.Linear(inner, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n_patches, width) -> the same shape."""
        heads = self.ask(self.norm(x)).unflatten(2, (3, self.n_heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # (batch, n_heads, n_patches, width)
        attended = self._attend(query, key, value)
        x = x + self._drop(self.answer(attended.transpose(1, 2).flatten(2)))
        return x + self._drop(self.think(x))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if query.device.type != "cpu":
            return F.scaled_dot_product_attention(query, key, value)
        # on a CPU its backward pass takes three times as long in bf16 as in float32
        with torch.autocast("cpu", enabled=False):
            return F.scaled_dot_product_attention(query.float(), key.float(), value.float())

    def _drop(self, branch: Tensor) -> Tensor:
        """Stochastic depth: in training, zero for some crops, scaled up for the others."""
        if not (self.training and self.dropout):
            return branch
        kept = torch.rand(len(branch), 1, 1, device=branch.device) >= self.dropout
        return branch * (kept / (1 - self.dropout)).to(branch.dtype)


class SpectrogramTransformer(EmbeddingNetwork):
    """Patch embeddings with positions, patchout in training, transformer layers, pooling."""

    def __init__(self, config: Config, input_shape: InputShape, n_classes: int) -> None:
        """See `build`."""
        super().__init__()
        n_channels, n_bins, n_frames = input_shape
        self.patch = (config.patch_frames, config.patch_bins)
        self.cut = build_stem(config, n_channels)
        n_patches = (-(-n_frames // self.patch[0]), -(-n_bins // self.patch[1]))
        self.positions = (
            LearnedPositions(config.width, *n_patches)
            if config.positions == "learned"
            else SinusoidalPositions(config.width)
        )
        self.cls = (
            nn.Parameter(INITIAL_STD * torch.randn(1, 1, config.width))
            if config.pooling == "cls"
            else None
        )
        self.patch_dropout = config.patch_dropout
        self.layers = nn.Sequential(*(TransformerLayer(config) for _ in range(config.depth)))
        self.norm = nn.LayerNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.width, n_classes)

    def embed(self, x: Tensor) -> Tensor:
        """(batch, n_channels, n_bins, n_frames) -> pooled patches (batch, width)."""
        x = x.transpose(2, 3)
        # pads the last patches with zeros, the mean of a standardized bin
        x = F.pad(x, (0, -x.shape[3] % self.patch[1], 0, -x.shape[2] % self.patch[0]))
        patches = self.cut(x).permute(0, 2, 3, 1)  # (batch, n_frames, n_bins, width)
        tokens = self._hide((patches + self.positions(patches)).flatten(1, 2))
        if self.cls is not None:
            tokens = torch.cat([self.cls.expand(len(x), -1, -1), tokens], dim=1)
        tokens = self.norm(self.layers(tokens))
        pooled = tokens.mean(dim=1) if self.cls is None else tokens[:, 0]
        embedding: Tensor = self.dropout(pooled)
        return embedding

    def _hide(self, tokens: Tensor) -> Tensor:
        """Patchout: in training, a random subset of patches for each crop."""
        if not self.training:
            return tokens
        batch, n_patches, width = tokens.shape
        n_kept = max(1, round(n_patches * (1 - self.patch_dropout)))
        if n_kept == n_patches:
            return tokens
        order = torch.rand(batch, n_patches, device=tokens.device).argsort(dim=1)
        return tokens.gather(1, order[:, :n_kept, None].expand(-1, -1, width))


def build(config: Config, input_shape: InputShape, n_classes: int) -> nn.Module:
    """A freshly initialised `SpectrogramTransformer` (see `lightning_models.base.Architecture`).

    Inputs are padded to whole patches, so that it accepts inputs of any size.
    """
    return SpectrogramTransformer(config, input_shape, n_classes)
