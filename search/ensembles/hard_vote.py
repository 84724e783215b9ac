"""The class that most members name, each having one voice: for comparison with the soft vote.

One of the ensembles that `search.evaluation.members` fits on out-of-fold rows. It throws away how
sure a member is, so it is no candidate where the sweep chooses by itself.

Source: Hansen and Salamon 1990, "Neural Network Ensembles", doi:10.1109/34.58871.
"""

import numpy as np

from chorale.lightning_models.metrics import accuracy, log_loss
from chorale.search.combining.base import Model, Said, weighted_mean
from chorale.search.statistics.arrays import Floats, Groups, Labels, Proba, check_proba, check_rows


def fit(said: Said, labels: Labels, groups: Groups, seed: int) -> Model:  # noqa: ARG001
    """One voice to each of the top k members.

    They are ranked, and k is chosen, by accuracy and then log loss; equal k go to the larger.
    `groups` and `seed` are not needed. See `search.combining.base.Ensemble`.
    """
    proba = said.proba
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
    return Model(weights, facts={"k": best_k})


def predict(model: Model, said: Said) -> Floats:
    """The share of the votes, the members' mean counting as one vote more.

    So a tie goes to the class that the members find more probable, and no class gets exactly 0.
    See `search.combining.base.Ensemble`.
    """
    mean = weighted_mean(model.weights, said.proba)
    check_proba(said.proba, n_dims=3)
    used = np.flatnonzero(model.weights)
    votes = sum((_votes(said.proba[member]) for member in used), np.zeros(mean.shape))
    return np.asarray((votes + mean) / (len(used) + 1))


def _votes(proba: Proba) -> Floats:
    return np.asarray(np.eye(proba.shape[1])[proba.argmax(axis=1)])


def _score(proba: Proba, labels: Labels) -> tuple[float, float]:
    """Lower is better."""
    return -accuracy(proba, labels), round(log_loss(proba, labels), 9)
