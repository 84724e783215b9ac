"""What two or more architectures are built of, and nothing else.

Architectures do not import one another; what they share stands here.
"""

import torch
from torch import Tensor, nn


class Classifier(nn.Module):
    """A network that says what it sees by `embed`, and what that means by its last layer, `head`.

    A subclass builds `head` and writes `embed` (see `lightning_models.base.Network`).
    """

    head: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        """(batch, n_channels, n_bins, n_frames) -> logits (batch, n_classes)."""
        logits: Tensor = self.head(self.embed(x))
        return logits

    def embed(self, x: Tensor) -> Tensor:
        """(batch, n_channels, n_bins, n_frames) -> (batch, width)."""
        raise NotImplementedError(f"{type(self).__name__} has no embed")


def dense(n_in: int, n_out: int, *, dropout: float) -> nn.Sequential:
    """A dense layer with ReLU between two dropouts: (batch, n_in) -> (batch, n_out)."""
    return nn.Sequential(
        nn.Dropout(dropout),
        nn.Linear(n_in, n_out),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
    )


def pool_frames(x: Tensor, *, kind: str, dim: int) -> Tensor:
    """One value for all frames.

    Args:
        x: any shape.
        kind: "mean", "max", or "mean_max" for one after the other along dimension 1.
        dim: of the frames; it is lost.

    Raises:
        ValueError: no such kind.
    """
    if kind == "mean":
        return x.mean(dim=dim)
    if kind == "max":
        return x.amax(dim=dim)
    if kind == "mean_max":
        return torch.cat([x.mean(dim=dim), x.amax(dim=dim)], dim=1)
    raise ValueError(f"kind must be mean, max or mean_max, but got {kind=}")
