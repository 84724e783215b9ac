"""The best member alone: what every ensemble has to beat.

One of the ensembles that `search.combine` fits on out-of-fold rows.

Source: the selection by cross-validation of Stone 1974, "Cross-Validatory Choice and Assessment of
Statistical Predictions", doi:10.1111/j.2517-6161.1974.tb00994.x.
"""

import numpy as np
from numpy.typing import NDArray

from lightning_models.metrics import accuracy, log_loss
from search.base import Groups, Labels, Proba, Weights, check_rows, weighted_mean


def fit(proba: Proba, labels: Labels, groups: Groups, seed: int) -> Weights:  # noqa: ARG001
    """All weight to the member with the highest out-of-fold accuracy, ties by log loss.

    `groups` and `seed` are not needed. See `search.base.Ensemble`.
    """
    check_rows(proba, labels, groups, n_dims=3)
    losses = [log_loss(one, labels) for one in proba]
    best = max(range(len(proba)), key=lambda m: (accuracy(proba[m], labels), -losses[m]))
    weights = np.zeros(len(proba))
    weights[best] = 1.0
    return weights


def predict(weights: Weights, proba: Proba) -> NDArray[np.float64]:
    """What the chosen member says. See `search.base.Ensemble`."""
    return weighted_mean(weights, proba)
