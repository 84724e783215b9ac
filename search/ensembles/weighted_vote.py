"""The weighted mean of all members: the weights that make the truth most likely, drawn to uniform.

One of the ensembles that `search.evaluation.members` fits on out-of-fold rows.

Source: the mixture weights of Dempster, Laird and Rubin 1977, "Maximum Likelihood from Incomplete
Data via the EM Algorithm", doi:10.1111/j.2517-6161.1977.tb01600.x, with a Dirichlet prior; for
classifiers as in LeBlanc and Tibshirani 1996, "Combining Estimates in Regression and
Classification", doi:10.1080/01621459.1996.10476733.
"""

import numpy as np

from chorale.search.combining.base import Model, Said, weighted_mean
from chorale.search.statistics.arrays import Floats, Groups, Labels, Weights, check_rows
from chorale.search.statistics.group_cuts import cut, held_out

SHRINKAGES = (3.0, 1.0, 0.3, 0.1)
"""How much the draw to uniform weights counts, as a multiple of all rows; strongest first."""

N_CUTS = 4
MAX_STEPS = 60
TOLERANCE = 1e-12
"""Newton steps end where the next would win less than this, in nats."""

SMALLEST = 1e-6
"""What a member says of the true class counts as this at least."""


def fit(said: Said, labels: Labels, groups: Groups, seed: int) -> Model:
    """Weights on the simplex with the lowest log loss, and the shrinkage that does best by group.

    See `search.combining.base.Ensemble`.
    """
    check_rows(said.proba, labels, groups, n_dims=3)
    named = said.proba[:, np.arange(len(labels)), labels].T  # (n_tracks, n_members)
    true: Floats = np.maximum(named.astype(np.float64), SMALLEST)
    cuts = cut(labels, groups, seed=seed, n_cuts=N_CUTS)
    shrinkage = SHRINKAGES[0]
    if cuts.max() > 0:
        losses = np.zeros(len(SHRINKAGES))
        for out in held_out(cuts):
            weights = None
            for i, one in enumerate(SHRINKAGES):
                weights = simplex_weights(true[~out], shrinkage=one, start=weights)
                losses[i] -= np.log(true[out] @ weights).sum()
        # rounded, so that equals go to the stronger
        shrinkage = SHRINKAGES[int(np.argmin(np.round(losses, 6)))]
    weights = simplex_weights(true, shrinkage=shrinkage)
    return Model(weights / weights.sum(), facts={"shrinkage": shrinkage})


def predict(model: Model, said: Said) -> Floats:
    """The weighted mean of all members. See `search.combining.base.Ensemble`."""
    return weighted_mean(model.weights, said.proba)


def simplex_weights(true: Floats, *, shrinkage: float, start: Weights | None = None) -> Weights:
    """The weights w > 0, summing to 1, that minimise -mean(log(true @ w)) - shrinkage mean(log w).

    The term 1 + shrinkage times the sum of w stands in for the condition: the gradient times w is 0
    only where that sum is 1. What is left is smooth and convex, so Newton's steps find it.

    Args:
        true: (n_tracks, n_members), what each member said of the true class, above 0.
        shrinkage: above 0; the larger, the nearer are the weights to one another.
        start: weights to begin with; uniform ones where None.
    """
    n_tracks, n_members = true.shape

    def loss(w: Weights) -> float:
        prior = shrinkage * float(np.mean(np.log(w)))
        return -float(np.mean(np.log(true @ w))) - prior + (1 + shrinkage) * float(w.sum())

    w = np.full(n_members, 1 / n_members) if start is None else start
    now = loss(w)
    for _ in range(MAX_STEPS):
        ratio = true / (true @ w)[:, None]
        pull = shrinkage / n_members / w
        gradient = 1 + shrinkage - ratio.mean(axis=0) - pull
        step = np.linalg.solve(ratio.T @ ratio / n_tracks + np.diag(pull / w), -gradient)
        win = -float(gradient @ step)
        if win < TOLERANCE:
            break
        length = min(1.0, 0.95 / max(1e-300, float(np.max(-step / w))))
        while (then := loss(w + length * step)) > now - 1e-4 * length * win:
            length /= 2
            if length < 1e-12:  # no smaller loss can be told from this one
                return w
        w, now = w + length * step, then
    return w
