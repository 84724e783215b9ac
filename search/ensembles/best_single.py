"""The best single model: what every ensemble must beat.

Shown beside the ensembles for comparison; `search.statistics.selection` never chooses it.

Source: selection by cross-validation, Stone 1974, "Cross-Validatory Choice and Assessment of
Statistical Predictions", doi:10.1111/j.2517-6161.1974.tb00994.x.
"""

from typing import TYPE_CHECKING

from chorale.search.combining.base import EnsembleModel
from chorale.search.combining.one_member import fit, fit_labels, predict

if TYPE_CHECKING:
    from torch import nn

__all__ = ["fit", "fit_labels", "predict"]


def network(model: EnsembleModel) -> "nn.Module":
    """The ensemble as a module, for export: (n_members, n_classes) -> (n_classes,)."""
    from chorale.search.combining.networks import WeightedMeanNetwork

    return WeightedMeanNetwork(model)
