"""Which ensemble to believe, chosen on development rows alone: the test set has no part in it.

Every kind is fitted again and again without a cut of the groups and judged on that cut, so that
whatever it chooses (its k, its strength) is chosen inside, too. `search.judge` asks here.

Source: nested cross-validation after Varma and Simon 2006, "Bias in error estimation when using
cross-validation for model selection", doi:10.1186/1471-2105-7-91; the rule of one standard error
after Breiman et al. 1984, "Classification and Regression Trees", doi:10.1201/9781315139470.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from chorale.lightning_models.metrics import accuracy, log_loss
from chorale.search.base import Floats, Groups, Labels, Proba

SIMPLE = "soft_vote"
"""What every other kind has to beat."""

LEARNT = ("stacking", "fusion")
"""Kinds that can learn rows by heart."""

COMPARED_ONLY = ("best_single", "hard_vote")
"""Kinds that are shown beside the others and never chosen."""

MAX_GAP = 0.15
"""A learnt kind overfits that claims so much more accuracy on the rows it was fitted on than it has
on others, over and above what soft vote claims too much. It is not less, as the class means that
fusion reads hold the very rows that it was fitted on: that alone makes about a tenth."""


@dataclass(frozen=True)
class Nested:
    """What one kind says of the development rows, (n_tracks, n_classes) each.

    `held_out` is said without having seen a row's group, `fitted` after having been fitted on it.
    """

    held_out: Proba
    fitted: Proba


@dataclass(frozen=True)
class Choice:
    """The kind that was chosen, a sentence that says why, and the figures of every kind.

    `figures` maps a kind to `n` tracks, `accuracy` and `log_loss` (held out), `gap` (accuracy
    fitted minus held out), `gain` (accuracy above soft vote's) with its standard error `gain_se`,
    and `verdict`.
    """

    kind: str
    reason: str
    figures: Mapping[str, Mapping[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        figures = {kind: dict(one) for kind, one in self.figures.items()}
        return {"kind": self.kind, "reason": self.reason, "figures": figures}


def choose(nested: Mapping[str, Nested], labels: Labels, groups: Groups) -> Choice:
    """Soft vote, unless another kind is better by more than a standard error and does not overfit.

    Args:
        nested: kind -> what it says; soft vote among them.
        labels: (n_tracks,) class indices of the development rows.
        groups: (n_tracks,) for the standard errors.
    """
    simple = nested[SIMPLE]
    figures = {kind: _figures(one, simple, labels, groups) for kind, one in nested.items()}
    for kind, one in figures.items():
        one["verdict"] = _verdict(kind, one, figures[SIMPLE])
    better = [kind for kind, one in figures.items() if one["verdict"] == "better"]
    if not better:
        rivals = [kind for kind in figures if kind not in (SIMPLE, *COMPARED_ONLY)]
        reason = f"{SIMPLE}: no other kind was fitted"
        if rivals:
            best = max(rivals, key=lambda kind: figures[kind]["gain"])
            reason = (
                f"{SIMPLE}: on held-out groups the best other kind, {best}, is "
                f"{_points(figures[best])} ({figures[best]['verdict']})"
            )
        return Choice(SIMPLE, reason, figures)
    kind = min(better, key=lambda kind: (-figures[kind]["accuracy"], figures[kind]["log_loss"]))
    reason = f"{kind}: on held-out groups it is {_points(figures[kind])}"
    return Choice(kind, reason, figures)


def group_error(values: Floats, groups: Groups) -> float:
    """The standard error of the mean of `values` (n,), where the values of a group hang together.

    0 for a single group, of which nothing can be said.

    Source: the ratio estimator of Cochran 1977, "Sampling Techniques", section 9A.
    """
    _, group_of = np.unique(groups, return_inverse=True)
    sums = np.bincount(group_of, weights=values - values.mean())
    n_groups = len(sums)
    if n_groups == 1:
        return 0.0
    return float(np.sqrt(n_groups / (n_groups - 1) * np.sum(sums**2)) / len(values))


def _figures(one: Nested, simple: Nested, labels: Labels, groups: Groups) -> dict[str, Any]:
    right = (one.held_out.argmax(axis=1) == labels).astype(np.float64)
    gain = right - (simple.held_out.argmax(axis=1) == labels)
    return {
        "n": len(labels),
        "accuracy": float(right.mean()),
        "log_loss": log_loss(one.held_out, labels),
        "gap": accuracy(one.fitted, labels) - float(right.mean()),
        "gain": float(gain.mean()),
        "gain_se": group_error(gain, groups),
    }


def _verdict(kind: str, one: Mapping[str, Any], simple: Mapping[str, Any]) -> str:
    if kind == SIMPLE:
        return "what others must beat"
    if kind in COMPARED_ONLY:
        return "for comparison only"
    if kind in LEARNT and one["gap"] > max(0.0, simple["gap"]) + MAX_GAP:
        return "overfits: its accuracy is lower on groups that it was not fitted on"
    if kind in LEARNT and one["log_loss"] > simple["log_loss"]:
        return "overfits: its log loss is higher than soft vote's on held-out groups"
    # less one track: the error of a single track that differs is that very track
    if one["gain"] - 1 / one["n"] <= one["gain_se"]:
        return "not better by more than a standard error"
    return "better"


def _points(one: Mapping[str, Any]) -> str:
    gain, error = 100 * one["gain"], 100 * one["gain_se"]
    side = "above" if gain >= 0 else "below"
    return f"{abs(gain):.1f} points {side} {SIMPLE} (standard error {error:.1f})"
