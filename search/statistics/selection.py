"""Which ensemble to believe, chosen on development rows alone: the test set has no part in it.

Every kind is fitted again and again without a cut of the groups and judged on that cut, so that
whatever it chooses (its k, its strength) is chosen inside, too.
`search.evaluation.final_evaluation` asks here.

The lowest calibrated log loss is chosen: accuracies on few groups are too noisy to tell which kind
is the best one, and the best of them claims more. In `tests/benchmarks/bench_choice.py` that halves
what the choice costs, beside soft vote unless another is more accurate by a standard error.

The accuracy of the kind that was chosen is still a little too high on the rows that it was chosen
by; `search.statistics.selection_bias` tells how much.

Source: nested cross-validation after Varma and Simon 2006, "Bias in error estimation when using
cross-validation for model selection", doi:10.1186/1471-2105-7-91.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chorale.lightning_models.metrics import accuracy, correct
from chorale.search.statistics.arrays import Floats, Groups, Labels, Proba
from chorale.search.statistics.calibration import calibrated_losses
from chorale.search.statistics.selection_bias import of_kind

SIMPLE = "soft_vote"
"""What the others are compared with, and what is taken where nothing tells them apart."""

COMPARED_ONLY = ("best_single", "hard_vote")
"""Kinds that are shown beside the others and never chosen."""


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

    `bias` is by how much its accuracy on held-out rows is too high, as these chose it. `figures`
    maps a kind to `n` tracks, `accuracy` and calibrated `log_loss` (held out), `gap` (accuracy
    fitted minus held out), `gain` (accuracy above soft vote's) with its standard error `gain_se`,
    and `verdict`.
    """

    kind: str
    reason: str
    figures: Mapping[str, Mapping[str, Any]]
    bias: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        figures = {kind: dict(one) for kind, one in self.figures.items()}
        return {"kind": self.kind, "reason": self.reason, "bias": self.bias, "figures": figures}


def choose(nested: Mapping[str, Nested], labels: Labels, groups: Groups, *, seed: int) -> Choice:
    """The kind with the lowest calibrated log loss on held-out groups; of equals, soft vote.

    Args:
        nested: kind -> what it says; soft vote among them.
        labels: (n_tracks,) class indices of the development rows.
        groups: (n_tracks,) for standard errors, and for draws.
        seed: of the draws that tell the bias of the choice.
    """
    simple = nested[SIMPLE]
    losses = {kind: calibrated_losses(one.held_out, labels) for kind, one in nested.items()}
    figures = {
        kind: {**_figures(one, simple, labels, groups), "log_loss": float(losses[kind].mean())}
        for kind, one in nested.items()
    }
    kinds = sorted((k for k in nested if k not in COMPARED_ONLY), key=lambda k: k != SIMPLE)
    chosen = min(kinds, key=lambda kind: round(float(figures[kind]["log_loss"]), 9))
    for kind, one in figures.items():
        one["verdict"] = _verdict(kind, figures, chosen)
    bias = of_kind(
        [losses[kind] for kind in kinds],
        [correct(nested[kind].held_out, labels) for kind in kinds],
        groups,
        seed=seed,
    )
    return Choice(chosen, _reason(chosen, kinds, figures), figures, bias)


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
    right = correct(one.held_out, labels)
    gain = right - correct(simple.held_out, labels)
    return {
        "n": len(labels),
        "accuracy": float(right.mean()),
        "gap": accuracy(one.fitted, labels) - float(right.mean()),
        "gain": float(gain.mean()),
        "gain_se": group_error(gain, groups),
    }


def _verdict(kind: str, figures: Mapping[str, Mapping[str, Any]], chosen: str) -> str:
    if kind in COMPARED_ONLY:
        return "for comparison only"
    if kind == chosen:
        return "chosen"
    above = figures[kind]["log_loss"] - figures[chosen]["log_loss"]
    return f"its log loss is {above:.3f} higher"


def _reason(chosen: str, kinds: Sequence[str], figures: Mapping[str, Mapping[str, Any]]) -> str:
    others = [kind for kind in kinds if kind != chosen]
    if not others:
        return f"{chosen}: no other kind was fitted"
    beside = SIMPLE
    if chosen == SIMPLE:
        beside = min(others, key=lambda kind: float(figures[kind]["log_loss"]))
    gain = 100 * (figures[chosen]["accuracy"] - figures[beside]["accuracy"])
    return (
        f"{chosen}: on held-out groups its calibrated log loss is the lowest, "
        f"{figures[chosen]['log_loss']:.3f} beside {figures[beside]['log_loss']:.3f} of {beside}; "
        f"it is right {abs(gain):.1f} points {'more' if gain >= 0 else 'less'} often"
    )
