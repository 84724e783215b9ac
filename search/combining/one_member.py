"""Model selection as an ensemble: all weight to the best member, by out-of-fold accuracy.

`search.ensembles.best_single` and `search.ensembles.best_baseline` are this.
"""

import numpy as np

from chorale.lightning_models.metrics import accuracy, log_loss
from chorale.lightning_models.multi_label_metrics import mean_average_precision
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


def fit_labels(predictions: MemberPredictions, labels: Labels) -> EnsembleModel:
    """Gives all weight to the member with the highest out-of-fold mAP, ties by log loss.

    See `search.combining.multi_label`; `labels` are (n_tracks, n_classes).
    """
    proba = predictions.proba
    keys = [(mean_average_precision(one, labels), -log_loss(one, labels)) for one in proba]
    weights = np.zeros(len(proba))
    weights[max(range(len(proba)), key=keys.__getitem__)] = 1.0
    return EnsembleModel(weights)


def predict(model: EnsembleModel, predictions: MemberPredictions) -> Floats:
    """The chosen member's predictions. See `search.combining.base.Ensemble`."""
    return weighted_mean(model.weights, predictions.proba)
