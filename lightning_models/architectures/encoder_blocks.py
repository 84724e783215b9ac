"""The last blocks of a pretrained encoder, fine-tuned together with a classifier on top.

Its input are the frames before these blocks, which the feature set `block_input` computes once; the
frozen part of the encoder is no part of this network. Every training starts from the published
weights. The learning rate of a block is lower the farther it is from the classifier. Batch norms
within the blocks keep their published statistics, and their scales and shifts are trained.

Source: Yosinski et al. 2014, "How transferable are features in deep neural networks?",
arXiv:1411.1792 (fine-tuning the last layers); Howard and Ruder 2018, "Universal Language Model
Fine-tuning for Text Classification", arXiv:1801.06146 (discriminative learning rates: each layer's
rate is that of the next one, divided by 2.6).
"""

from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from chorale.datasets.base import Layout
from chorale.datasets.config import config
from chorale.datasets.errors import UserError
from chorale.datasets.pretrained.fine_tuning import (
    blocks_structure,
    published_blocks,
    source_file,
)
from chorale.datasets.pretrained.installed import encoder_info
from chorale.datasets.pretrained.running import EncoderSource
from chorale.lightning_models import presets
from chorale.lightning_models.base import InputShape, Space
from chorale.lightning_models.distributions import CategoricalDistribution, FloatDistribution
from chorale.lightning_models.layers import EmbeddingNetwork, pool_frames
from chorale.lightning_models.pretrained import NO_WEIGHTS

LAYOUTS: tuple[Layout, ...] = ("block_input",)
COST = 1.0


@config
class Config:
    """The classifier on top, the learning rates of the blocks, and which blocks they are."""

    encoder: str = ""
    """The encoder, as in `chorale encoder list`; set from the features, as are the next four."""
    layer: str = ""
    """The output of the encoder behind the blocks."""
    fine_tune: Annotated[int, Field(ge=1)] = 1
    """How many blocks there are."""
    path: str = ""
    """The encoder's file; empty for the one that was fetched."""
    digest: str = ""
    """The SHA-256 of that file."""
    weights: Literal["published", "none"] = "published"
    """Initial weights of the blocks; none for any, as where a checkpoint is loaded."""
    lr_decay: Annotated[float, Field(gt=0, le=1)] = 0.4
    """Each block's learning rate as a multiple of that of what follows it."""
    pooling: Literal["mean", "max", "mean_max"] = "mean"
    """How the embeddings of a crop are pooled over time."""
    hidden: Annotated[int, Field(ge=0, le=2048)] = 0
    """Width of a hidden layer of the classifier; 0 for none."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Dropout probability before the hidden and before the last layer."""


SPACE: Space = {
    "lr_decay": FloatDistribution(0.3, 1.0),
    "pooling": CategoricalDistribution(("mean", "max", "mean_max")),
    "hidden": CategoricalDistribution((0, 128, 256)),
    "dropout": FloatDistribution(0.0, 0.6),
}

DEFAULTS = (
    {
        "lr_decay": 0.4,
        "pooling": "mean",
        "hidden": 0,
        "dropout": 0.2,
        **presets.LITTLE_DATA_TABLE,
        "train.weight_decay": 1e-2,
        "train.schedule": "cosine",
        "train.mixup_alpha": 0.0,
        "train.n_masks": 0,
    },
)


class EncoderBlocks(EmbeddingNetwork):
    """Pretrained blocks, pooling over frames, batch norm, an optional hidden layer, the last layer.

    `lr_scales` maps prefixes of parameter names to factors of the learning rate.
    """

    input_mean: Tensor
    input_std: Tensor

    def __init__(self, config: Config, blocks: nn.Module, n_bins: int, n_classes: int) -> None:
        """See `build`."""
        super().__init__()
        self.blocks = blocks
        self.register_buffer("input_mean", torch.zeros(n_bins, 1))
        self.register_buffer("input_std", torch.ones(n_bins, 1))
        self.pooling = config.pooling
        width = encoder_info(config.encoder).layers[config.layer]
        width *= 2 if config.pooling == "mean_max" else 1
        layers: list[nn.Module] = [nn.BatchNorm1d(width), nn.Dropout(config.dropout)]
        if config.hidden:
            layers += [nn.Linear(width, config.hidden), nn.ReLU(), nn.Dropout(config.dropout)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(config.hidden or width, n_classes)
        self.lr_scales = {
            f"blocks.blocks.{i}.": config.lr_decay ** (config.fine_tune - i)
            for i in range(config.fine_tune)
        }

    def undo_standardization(self, mean: Tensor, std: Tensor) -> None:
        """Sets the statistics by which inputs are standardized, (1, n_bins, 1) each.

        The blocks expect the frames as the encoder computes them.
        """
        self.input_mean.copy_(mean.flatten(0, 1))
        self.input_std.copy_(std.flatten(0, 1))

    def embed(self, x: Tensor) -> Tensor:
        """(batch, 1, n_bins, n_frames) -> (batch, width)."""
        frames = self.blocks(x.flatten(1, 2) * self.input_std + self.input_mean)
        embedding: Tensor = self.body(pool_frames(frames, kind=self.pooling, dim=2))
        return embedding


def build(config: Config, input_shape: InputShape, n_classes: int) -> nn.Module:
    """`EncoderBlocks` with the encoder's published weights, or, with `weights` none, with any.

    Raises:
        UserError: the encoder's file is missing, another one than meant, or damaged.
    """
    if not config.encoder:
        raise UserError(
            "architecture 'encoder_blocks' needs the blocks of an encoder, but got none; type: "
            "--features.encoder '{name: musicnn, fine_tune: 1}'"
        )
    if config.weights == NO_WEIGHTS:
        blocks = blocks_structure(config.encoder, layer=config.layer, n_blocks=config.fine_tune)
    else:
        file: Path = source_file(config.encoder, config.path)
        source = EncoderSource(
            file, config.digest, config.encoder, layer=config.layer, n_blocks=config.fine_tune
        )
        blocks = published_blocks(source)
    return EncoderBlocks(config, blocks, input_shape[0] * input_shape[1], n_classes)
