"""Stacking: logistic regression on the members' log-probabilities, shrunk towards their mean.

It has a slope for each member and class, so it can overfit; `search.statistics.selection` chooses
it only where it does better on held-out groups.

Source: Wolpert 1992, "Stacked Generalization", doi:10.1016/S0893-6080(05)80023-1; on class
probabilities as in Ting and Witten 1999, "Issues in Stacked Generalization",
doi:10.1613/jair.594; the conditional logit of McFadden 1974.
"""

from typing import TYPE_CHECKING

import numpy as np

from chorale.search.combining.base import (
    EnsembleModel,
    MemberPredictions,
    best_members,
    log_proba,
    members_mismatch,
)
from chorale.search.statistics.arrays import Floats, Groups, Labels, check_proba, check_rows
from chorale.search.statistics.inner_folds import held_out_masks, inner_folds
from chorale.search.statistics.softmax import log_softmax, softmax

if TYPE_CHECKING:
    from torch import nn

L2_STRENGTHS = (1.0, 0.1, 0.01)
"""Candidate L2 penalties, relative to the mean loss of a row; strongest first."""

N_STACKING_FOLDS = 3
MAX_STACKED_MEMBERS = 16
"""Only the best members by log loss are used: each slope needs rows to be fitted on."""


def fit(predictions: MemberPredictions, labels: Labels, groups: Groups, seed: int) -> EnsembleModel:
    """Fits slopes and intercepts with the penalty that does best on held-out groups.

    The score of a class is the sum over members of (the member's shared slope + its slope for the
    class) times its log-probability, plus the class's intercept. With infinite penalty the shared
    slopes are 1 / n and the rest is 0: the geometric mean of the members. See
    `search.combining.base.Ensemble`.
    """
    check_rows(predictions.proba, labels, groups, n_dims=3)
    used = best_members(predictions.proba, labels, MAX_STACKED_MEMBERS)
    logs = log_proba(predictions.proba[used])  # (n_used, n_tracks, n_classes)
    folds = inner_folds(labels, groups, seed=seed, n_folds=N_STACKING_FOLDS)
    strength = L2_STRENGTHS[0]
    if folds.max() > 0:
        losses = np.zeros(len(L2_STRENGTHS))
        for out in held_out_masks(folds):
            params, inside = None, logs[:, ~out]
            for i, one in enumerate(L2_STRENGTHS):
                params = fit_logistic(
                    inside, labels[~out], strength=one, start=params, tolerance=1e-4
                )
                scores = _scores(params, logs[:, out])
                losses[i] -= log_softmax(scores)[np.arange(out.sum()), labels[out]].sum()
        strength = L2_STRENGTHS[int(np.argmin(np.round(losses, 6)))]
    params = fit_logistic(logs, labels, strength=strength)
    slopes, intercepts = _slopes(params, *logs.shape[::2])
    all_slopes = np.zeros((len(predictions.proba), logs.shape[2]))
    all_slopes[used] = slopes
    shares = np.abs(all_slopes).mean(axis=1)
    shares = shares / shares.sum() if shares.sum() > 0 else np.full(len(shares), 1 / len(shares))
    arrays = {"slopes": all_slopes, "intercepts": intercepts}
    return EnsembleModel(shares, arrays, {"strength": strength, "n_used": len(used)})


def predict(model: EnsembleModel, predictions: MemberPredictions) -> Floats:
    """The softmax of the scores. See `search.combining.base.Ensemble`."""
    check_proba(predictions.proba, n_dims=3)
    slopes = model.arrays["slopes"]
    if slopes.shape != (predictions.proba.shape[0], predictions.proba.shape[2]):
        raise members_mismatch(len(slopes), predictions)
    used = np.flatnonzero(np.abs(slopes).sum(axis=1))
    scores = np.einsum("mnc,mc->nc", log_proba(predictions.proba[used]), slopes[used])
    return np.asarray(softmax(scores + model.arrays["intercepts"]))


def network(model: EnsembleModel) -> "nn.Module":
    """The ensemble as a module, for export: (n_members, n_classes) -> (n_classes,)."""
    from chorale.search.combining.networks import StackingNetwork

    return StackingNetwork(model)


def fit_logistic(
    logs: Floats,
    labels: Labels,
    *,
    strength: float,
    start: Floats | None = None,
    tolerance: float = 1e-6,
) -> Floats:
    """Minimises the mean log loss plus half of `strength` times the sum of squared parameters.

    Args:
        logs: (n_members, n_tracks, n_classes) log-probabilities.
        labels: (n_tracks,) class indices.
        strength: the L2 penalty, above 0.
        start: initial parameters: those fitted with another strength.
        tolerance: the largest gradient component at which the optimiser stops.

    Returns:
        n_members offsets of shared slopes from 1 / n_members, n_members * n_classes slopes by
        class, n_classes intercepts.
    """
    n_members, n_tracks, n_classes = logs.shape
    truth = np.eye(n_classes)[labels]
    by_class = np.ascontiguousarray(logs.transpose(2, 0, 1))  # (n_classes, n_members, n_tracks)

    def loss(params: Floats) -> tuple[float, Floats]:
        slopes, intercepts = _slopes(params, n_members, n_classes)
        scores = (slopes.T[:, None, :] @ by_class)[:, 0].T + intercepts
        log_p = log_softmax(scores)
        off = (np.exp(log_p) - truth) / n_tracks
        own = (by_class @ off.T[:, :, None])[:, :, 0].T
        gradient = np.concatenate([own.sum(axis=1), own.ravel(), off.sum(axis=0)])
        value = -float(np.mean(log_p[truth > 0])) + strength / 2 * float(params @ params)
        return value, gradient + strength * params

    from scipy.optimize import minimize  # slow to import, and not needed to predict

    begin = np.zeros(n_members * (1 + n_classes) + n_classes) if start is None else start
    options = {"maxiter": 300, "ftol": tolerance * 1e-6, "gtol": tolerance}
    found = minimize(loss, begin, jac=True, method="L-BFGS-B", options=options)
    return np.asarray(found.x)


def _slopes(params: Floats, n_members: int, n_classes: int) -> tuple[Floats, Floats]:
    """Shared plus class slopes, (n_members, n_classes), and the intercepts (n_classes,)."""
    shared, own, intercepts = np.split(params, [n_members, n_members * (1 + n_classes)])
    return 1 / n_members + shared[:, None] + own.reshape(n_members, n_classes), intercepts


def _scores(params: Floats, logs: Floats) -> Floats:
    slopes, intercepts = _slopes(params, *logs.shape[::2])
    return np.asarray(np.einsum("mnc,mc->nc", logs, slopes) + intercepts)
