"""A logistic model on the members' log-probabilities, drawn to their plain mean.

One of the ensembles that `search.evaluation.members` fits on out-of-fold rows. It has a slope for
each member and class, so it can overfit: `search.statistics.selection` takes it only where it does
not.

Source: Wolpert 1992, "Stacked Generalization", doi:10.1016/S0893-6080(05)80023-1; on class
probabilities as in Ting and Witten 1999, "Issues in Stacked Generalization",
doi:10.1613/jair.594; the conditional logit of McFadden 1974.
"""

import numpy as np

from chorale.search.combining.base import Model, Said, best_members, log_proba, other_members
from chorale.search.statistics.arrays import Floats, Groups, Labels, check_proba, check_rows
from chorale.search.statistics.group_cuts import cut, held_out
from chorale.search.statistics.softmax import log_softmax, softmax

STRENGTHS = (1.0, 0.1, 0.01)
"""Of the squares of what is learnt, beside the mean loss of a row; strongest first."""

N_CUTS = 3
MAX_MEMBERS = 16
"""More members, beyond the best by log loss, are left out: slopes cost rows."""


def fit(said: Said, labels: Labels, groups: Groups, seed: int) -> Model:
    """Slopes and intercepts at the strength that does best by group. See `search.combining.base`.

    The score of a class is the sum over members of (shared + own slope of member and class) times
    its log-probability, plus the class's intercept. Without anything learnt, the shared slopes are
    1 / n and the rest is 0: the geometric mean of the members.
    """
    check_rows(said.proba, labels, groups, n_dims=3)
    used = best_members(said.proba, labels, MAX_MEMBERS)
    logs = log_proba(said.proba[used])  # (n_used, n_tracks, n_classes)
    cuts = cut(labels, groups, seed=seed, n_cuts=N_CUTS)
    strength = STRENGTHS[0]
    if cuts.max() > 0:
        losses = np.zeros(len(STRENGTHS))
        for out in held_out(cuts):
            learnt, inside = None, logs[:, ~out]
            for i, one in enumerate(STRENGTHS):
                learnt = learn(inside, labels[~out], strength=one, start=learnt, tolerance=1e-4)
                scores = _scores(learnt, logs[:, out])
                losses[i] -= log_softmax(scores)[np.arange(out.sum()), labels[out]].sum()
        strength = STRENGTHS[int(np.argmin(np.round(losses, 6)))]
    learnt = learn(logs, labels, strength=strength)
    slopes, intercepts = _slopes(learnt, *logs.shape[::2])
    whole = np.zeros((len(said.proba), logs.shape[2]))
    whole[used] = slopes
    shares = np.abs(whole).mean(axis=1)
    shares = shares / shares.sum() if shares.sum() > 0 else np.full(len(shares), 1 / len(shares))
    arrays = {"slopes": whole, "intercepts": intercepts}
    return Model(shares, arrays, {"strength": strength, "n_used": len(used)})


def predict(model: Model, said: Said) -> Floats:
    """The softmax of the scores. See `search.combining.base.Ensemble`."""
    check_proba(said.proba, n_dims=3)
    slopes = model.arrays["slopes"]
    if slopes.shape != (said.proba.shape[0], said.proba.shape[2]):
        raise other_members(len(slopes), said)
    used = np.flatnonzero(np.abs(slopes).sum(axis=1))
    scores = np.einsum("mnc,mc->nc", log_proba(said.proba[used]), slopes[used])
    return np.asarray(softmax(scores + model.arrays["intercepts"]))


def learn(
    logs: Floats,
    labels: Labels,
    *,
    strength: float,
    start: Floats | None = None,
    tolerance: float = 1e-6,
) -> Floats:
    """What minimises the mean log loss plus half of `strength` times the sum of squares.

    Args:
        logs: (n_members, n_tracks, n_classes) log-probabilities.
        labels: (n_tracks,) class indices.
        strength: above 0.
        start: what was learnt with another strength.
        tolerance: how steep the loss may still be in the end.

    Returns:
        n_members changes of shared slopes, n_members * n_classes own slopes, n_classes intercepts.
    """
    n_members, n_tracks, n_classes = logs.shape
    truth = np.eye(n_classes)[labels]
    by_class = np.ascontiguousarray(logs.transpose(2, 0, 1))  # (n_classes, n_members, n_tracks)

    def loss(learnt: Floats) -> tuple[float, Floats]:
        slopes, intercepts = _slopes(learnt, n_members, n_classes)
        scores = (slopes.T[:, None, :] @ by_class)[:, 0].T + intercepts
        log_p = log_softmax(scores)
        off = (np.exp(log_p) - truth) / n_tracks
        own = (by_class @ off.T[:, :, None])[:, :, 0].T
        gradient = np.concatenate([own.sum(axis=1), own.ravel(), off.sum(axis=0)])
        value = -float(np.mean(log_p[truth > 0])) + strength / 2 * float(learnt @ learnt)
        return value, gradient + strength * learnt

    from scipy.optimize import minimize  # which who only predicts does not wait for

    begin = np.zeros(n_members * (1 + n_classes) + n_classes) if start is None else start
    options = {"maxiter": 300, "ftol": tolerance * 1e-6, "gtol": tolerance}
    found = minimize(loss, begin, jac=True, method="L-BFGS-B", options=options)
    return np.asarray(found.x)


def _slopes(learnt: Floats, n_members: int, n_classes: int) -> tuple[Floats, Floats]:
    """The whole slopes (n_members, n_classes) and the intercepts (n_classes,)."""
    shared, own, intercepts = np.split(learnt, [n_members, n_members * (1 + n_classes)])
    return 1 / n_members + shared[:, None] + own.reshape(n_members, n_classes), intercepts


def _scores(learnt: Floats, logs: Floats) -> Floats:
    slopes, intercepts = _slopes(learnt, *logs.shape[::2])
    return np.asarray(np.einsum("mnc,mc->nc", logs, slopes) + intercepts)
