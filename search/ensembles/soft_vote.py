"""The mean of the best members' probabilities, each counting the same.

One of the ensembles that `search.evaluation.members` fits on out-of-fold rows, and the one that
every more learned ensemble has to beat: it has one number to fit, so it hardly overfits.

Source: Kittler et al. 1998, "On Combining Classifiers" (the sum rule), doi:10.1109/34.667881.
"""

import numpy as np

from chorale.lightning_models.metrics import accuracy, log_loss
from chorale.search.combining.base import Model, Said, weighted_mean
from chorale.search.statistics.arrays import Floats, Groups, Labels, Proba, check_rows


def fit(said: Said, labels: Labels, groups: Groups, seed: int) -> Model:  # noqa: ARG001
    """The same weight to each of the top k members, none to the others.

    Members are ranked by out-of-fold accuracy, then log loss; k is the one whose mean has the
    highest out-of-fold accuracy, then the lowest log loss. Equal k go to the larger: an average of
    more members varies less on new tracks, and nothing speaks against it. `groups` and `seed` are
    not needed. See `search.combining.base.Ensemble`.
    """
    proba = said.proba
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
    return Model(weights, facts={"k": best_k})


def predict(model: Model, said: Said) -> Floats:
    """The mean of the chosen members. See `search.combining.base.Ensemble`."""
    return weighted_mean(model.weights, said.proba)


def _score(proba: Proba, labels: Labels) -> tuple[float, float]:
    """Lower is better."""
    # rounded, so that what is equal but for the order of summation is a tie
    return -accuracy(proba, labels), round(log_loss(proba, labels), 9)
