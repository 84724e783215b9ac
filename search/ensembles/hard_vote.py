"""Hard (majority) voting: the class that most members predict, for comparison with the soft vote.

It discards the members' confidence, so `search.statistics.selection` never chooses it.

Source: Hansen and Salamon 1990, "Neural Network Ensembles", doi:10.1109/34.58871.
"""

import numpy as np

from chorale.lightning_models.metrics import accuracy, log_loss
from chorale.search.combining.base import EnsembleModel, MemberPredictions, weighted_mean
from chorale.search.statistics.arrays import Floats, Groups, Labels, Proba, check_proba, check_rows


def fit(predictions: MemberPredictions, labels: Labels, groups: Groups, seed: int) -> EnsembleModel:  # noqa: ARG001
    """Gives one vote to each of the top k members.

    Members are ranked, and k is chosen, by accuracy, then log loss; ties go to the larger k.
    `groups` and `seed` are not used. See `search.combining.base.Ensemble`.
    """
    proba = predictions.proba
    check_rows(proba, labels, groups, n_dims=3)
    own = [_score(one, labels) for one in proba]
    ranked = sorted(range(len(proba)), key=own.__getitem__)
    votes, total = np.zeros(proba.shape[1:]), np.zeros(proba.shape[1:])
    scores = []
    for k, member in enumerate(ranked, start=1):
        votes += _votes(proba[member])
        total += proba[member]
        scores.append((_score((votes + total / k) / (k + 1), labels), -k))
    best_k = -min(scores)[1]
    weights = np.zeros(len(proba))
    weights[ranked[:best_k]] = 1.0 / best_k
    return EnsembleModel(weights, facts={"k": best_k})


def predict(model: EnsembleModel, predictions: MemberPredictions) -> Floats:
    """The share of the votes, with the members' mean probability as one more vote.

    So a tie goes to the class with the higher mean probability, and no class gets exactly 0.
    See `search.combining.base.Ensemble`.
    """
    mean = weighted_mean(model.weights, predictions.proba)
    check_proba(predictions.proba, n_dims=3)
    used = np.flatnonzero(model.weights)
    votes = sum((_votes(predictions.proba[member]) for member in used), np.zeros(mean.shape))
    return np.asarray((votes + mean) / (len(used) + 1))


def _votes(proba: Proba) -> Floats:
    return np.asarray(np.eye(proba.shape[1])[proba.argmax(axis=1)])


def _score(proba: Proba, labels: Labels) -> tuple[float, float]:
    """Lower is better."""
    return -accuracy(proba, labels), round(log_loss(proba, labels), 9)
