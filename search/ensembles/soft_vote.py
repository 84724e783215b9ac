"""Soft voting: the unweighted mean of the best members' probabilities.

The reference that every other kind must beat: it fits one number, so it hardly overfits.

Source: Kittler et al. 1998, "On Combining Classifiers" (the sum rule), doi:10.1109/34.667881.
"""

from typing import TYPE_CHECKING

import numpy as np

from chorale.lightning_models.metrics import accuracy, log_loss
from chorale.search.combining.base import EnsembleModel, MemberPredictions, weighted_mean
from chorale.search.statistics.arrays import Floats, Groups, Labels, Proba, check_rows

if TYPE_CHECKING:
    from torch import nn


def fit(predictions: MemberPredictions, labels: Labels, groups: Groups, seed: int) -> EnsembleModel:  # noqa: ARG001
    """Gives equal weights to the top k members, none to the others.

    Members are ranked by out-of-fold accuracy, then log loss; k is the one whose mean has the
    highest out-of-fold accuracy, then the lowest log loss. Ties go to the larger k: an average of
    more members varies less on new tracks. `groups` and `seed` are not used. See
    `search.combining.base.Ensemble`.
    """
    proba = predictions.proba
    check_rows(proba, labels, groups, n_dims=3)
    n_members = len(proba)
    own = [_score(one, labels) for one in proba]
    ranked = sorted(range(n_members), key=own.__getitem__)
    total = np.zeros(proba.shape[1:])
    scores = []
    for k, member in enumerate(ranked, start=1):
        total += proba[member]
        scores.append((_score(total / k, labels), -k))
    best_k = -min(scores)[1]
    weights = np.zeros(n_members)
    weights[ranked[:best_k]] = 1.0 / best_k
    return EnsembleModel(weights, facts={"k": best_k})


def predict(model: EnsembleModel, predictions: MemberPredictions) -> Floats:
    """The mean of the chosen members. See `search.combining.base.Ensemble`."""
    return weighted_mean(model.weights, predictions.proba)


def network(model: EnsembleModel) -> "nn.Module":
    """The ensemble as a module, for export: (n_members, n_classes) -> (n_classes,)."""
    from chorale.search.combining.networks import WeightedMeanNetwork

    return WeightedMeanNetwork(model)


def _score(proba: Proba, labels: Labels) -> tuple[float, float]:
    """Lower is better."""
    # rounded, so that values that differ only by the order of summation are a tie
    return -accuracy(proba, labels), round(log_loss(proba, labels), 9)
