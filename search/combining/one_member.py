"""All weight to one member: how `search.ensembles.best_single` and `best_baseline` work."""

import numpy as np

from chorale.lightning_models.metrics import accuracy, log_loss
from chorale.search.combining.base import Model, Said, weighted_mean
from chorale.search.statistics.arrays import Floats, Groups, Labels, check_rows


def fit(said: Said, labels: Labels, groups: Groups, seed: int) -> Model:  # noqa: ARG001
    """All weight to the member with the highest out-of-fold accuracy, ties by log loss.

    `groups` and `seed` are not needed. See `search.combining.base.Ensemble`.
    """
    proba = said.proba
    check_rows(proba, labels, groups, n_dims=3)
    losses = [log_loss(one, labels) for one in proba]
    best = max(range(len(proba)), key=lambda m: (accuracy(proba[m], labels), -losses[m]))
    weights = np.zeros(len(proba))
    weights[best] = 1.0
    return Model(weights)


def predict(model: Model, said: Said) -> Floats:
    """What the chosen member says. See `search.combining.base.Ensemble`."""
    return weighted_mean(model.weights, said.proba)
