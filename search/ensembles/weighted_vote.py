"""Weighted soft voting: maximum-likelihood mixture weights, shrunk towards uniform weights.

Source: the mixture weights of Dempster, Laird and Rubin 1977, "Maximum Likelihood from Incomplete
Data via the EM Algorithm", doi:10.1111/j.2517-6161.1977.tb01600.x, with a Dirichlet prior; for
classifiers as in LeBlanc and Tibshirani 1996, "Combining Estimates in Regression and
Classification", doi:10.1080/01621459.1996.10476733.
"""

from typing import TYPE_CHECKING

import numpy as np

from chorale.search.combining.base import (
    TRUE_PROBA_FLOOR,
    EnsembleModel,
    MemberPredictions,
    weighted_mean,
)
from chorale.search.statistics.arrays import Floats, Groups, Labels, Weights, check_rows
from chorale.search.statistics.inner_folds import held_out_masks, inner_folds

if TYPE_CHECKING:
    from torch import nn

SHRINKAGES = (3.0, 1.0, 0.3, 0.1)
"""Candidate strengths of the prior, as a multiple of the number of rows; strongest first."""

N_WEIGHTING_FOLDS = 4
MAX_NEWTON_STEPS = 60
MIN_DECREASE_NATS = 1e-12
"""Newton's method stops where the next step would lower the loss by less than this."""


def fit(predictions: MemberPredictions, labels: Labels, groups: Groups, seed: int) -> EnsembleModel:
    """Fits weights on the simplex, with the shrinkage that does best on held-out groups.

    See `search.combining.base.Ensemble`.
    """
    check_rows(predictions.proba, labels, groups, n_dims=3)
    named = predictions.proba[:, np.arange(len(labels)), labels].T  # (n_tracks, n_members)
    true: Floats = np.maximum(named.astype(np.float64), TRUE_PROBA_FLOOR)
    folds = inner_folds(labels, groups, seed=seed, n_folds=N_WEIGHTING_FOLDS)
    shrinkage = SHRINKAGES[0]
    if folds.max() > 0:
        losses = np.zeros(len(SHRINKAGES))
        for out in held_out_masks(folds):
            weights = None
            for i, one in enumerate(SHRINKAGES):
                weights = simplex_weights(true[~out], shrinkage=one, start=weights)
                losses[i] -= np.log(true[out] @ weights).sum()
        # rounded, so that ties go to the stronger
        shrinkage = SHRINKAGES[int(np.argmin(np.round(losses, 6)))]
    weights = simplex_weights(true, shrinkage=shrinkage)
    return EnsembleModel(weights / weights.sum(), facts={"shrinkage": shrinkage})


def predict(model: EnsembleModel, predictions: MemberPredictions) -> Floats:
    """The weighted mean of all members. See `search.combining.base.Ensemble`."""
    return weighted_mean(model.weights, predictions.proba)


def network(model: EnsembleModel) -> "nn.Module":
    """The ensemble as a module, for export: (n_members, n_classes) -> (n_classes,)."""
    from chorale.search.combining.networks import WeightedMeanNetwork

    return WeightedMeanNetwork(model)


def simplex_weights(true: Floats, *, shrinkage: float, start: Weights | None = None) -> Weights:
    """The weights w > 0, summing to 1, that minimise -mean(log(true @ w)) - shrinkage mean(log w).

    The constraint is replaced by the term (1 + shrinkage) sum(w): the gradient times w is 0 only
    where that sum is 1. The rest is smooth and convex, so Newton's method solves it.

    Args:
        true: (n_tracks, n_members), each member's probability of the true class, above 0.
        shrinkage: above 0; the larger, the closer the weights are to uniform.
        start: initial weights; uniform where None.
    """
    n_tracks, n_members = true.shape

    def loss(w: Weights) -> float:
        prior = shrinkage * float(np.mean(np.log(w)))
        return -float(np.mean(np.log(true @ w))) - prior + (1 + shrinkage) * float(w.sum())

    w = np.full(n_members, 1 / n_members) if start is None else start
    now = loss(w)
    for _ in range(MAX_NEWTON_STEPS):
        ratio = true / (true @ w)[:, None]
        pull = shrinkage / n_members / w
        gradient = 1 + shrinkage - ratio.mean(axis=0) - pull
        step = np.linalg.solve(ratio.T @ ratio / n_tracks + np.diag(pull / w), -gradient)
        win = -float(gradient @ step)
        if win < MIN_DECREASE_NATS:
            break
        length = min(1.0, 0.95 / max(1e-300, float(np.max(-step / w))))
        while (then := loss(w + length * step)) > now - 1e-4 * length * win:
            length /= 2
            if length < 1e-12:  # converged to floating-point precision
                return w
        w, now = w + length * step, then
    return w
