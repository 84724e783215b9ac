"""Fitted ensembles as PyTorch modules, for export: from the members' probabilities to their answer.

An ensemble file offers `network(model)`, which returns one of these or a module of its own.
"""

import numpy as np
import torch
from torch import Tensor, nn

from chorale.search.combining.base import LOG_PROBA_FLOOR, EnsembleModel


class WeightedMeanNetwork(nn.Module):
    """The weighted mean of the members, as `combining.base.weighted_mean`."""

    weights: Tensor

    def __init__(self, model: EnsembleModel) -> None:
        super().__init__()
        shares = model.weights / model.weights.sum()
        self.register_buffer("weights", torch.from_numpy(shares.astype(np.float32)))

    def forward(self, proba: Tensor) -> Tensor:
        """(n_members, n_classes) -> (n_classes,)."""
        return torch.matmul(self.weights, proba)


class StackingNetwork(nn.Module):
    """See `search.ensembles.stacking`."""

    slopes: Tensor
    intercepts: Tensor

    def __init__(self, model: EnsembleModel) -> None:
        super().__init__()
        for name in ("slopes", "intercepts"):
            values = np.asarray(model.arrays[name], np.float32)
            self.register_buffer(name, torch.from_numpy(values))

    def forward(self, proba: Tensor) -> Tensor:
        """(n_members, n_classes) -> (n_classes,)."""
        logs = proba.clamp(min=LOG_PROBA_FLOOR).log()
        return ((logs * self.slopes).sum(dim=0) + self.intercepts).softmax(dim=0)
