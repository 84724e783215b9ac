"""Model selection as an ensemble: all weight to the best member, by out-of-fold accuracy.

`search.ensembles.best_single` and `search.ensembles.best_baseline` are this.
"""

import numpy as np

from chorale.lightning_models.metrics import accuracy, log_loss
from chorale.search.combining.base import EnsembleModel, MemberPredictions, weighted_mean
from chorale.search.statistics.arrays import Floats, Groups, Labels, check_rows


def fit(predictions: MemberPredictions, labels: Labels, groups: Groups, seed: int) -> EnsembleModel:  # noqa: ARG001
    """Gives all weight to the member with the highest out-of-fold accuracy, ties by log loss.

    `groups` and `seed` are not used. See `search.combining.base.Ensemble`.
    """
    proba = predictions.proba
    check_rows(proba, labels, groups, n_dims=3)
    losses = [log_loss(one, labels) for one in proba]
    best = max(range(len(proba)), key=lambda m: (accuracy(proba[m], labels), -losses[m]))
    weights = np.zeros(len(proba))
    weights[best] = 1.0
    return EnsembleModel(weights)


def predict(model: EnsembleModel, predictions: MemberPredictions) -> Floats:
    """The chosen member's predictions. See `search.combining.base.Ensemble`."""
    return weighted_mean(model.weights, predictions.proba)
