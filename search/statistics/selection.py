"""Model selection among kinds of ensembles, by nested cross-validation on development rows.

Every kind is cross-fitted: refitted without each inner fold of groups and scored on that fold, so
that its own choices (its k, its penalty) are made inside, too. The test set is not used.
`search.evaluation.final_evaluation` calls this.

The kind with the lowest calibrated log loss is chosen: accuracies on few groups are too noisy to
rank kinds, and the highest of them is biased more. In `tests/benchmarks/bench_ensemble_choice.py`
this halves the loss from selection, compared with the rule "soft vote, unless another kind is more
accurate by a standard error".

The accuracy of the chosen kind is still slightly too high on the rows that it was chosen by;
`search.statistics.selection_bias` estimates by how much.

Source: nested cross-validation after Varma and Simon 2006, "Bias in error estimation when using
cross-validation for model selection", doi:10.1186/1471-2105-7-91.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chorale.datasets.label_sets import is_known
from chorale.lightning_models.metrics import accuracy, correct, mean_loss
from chorale.lightning_models.multi_label_metrics import main_score
from chorale.search.statistics.arrays import Floats, Groups, Labels, Proba
from chorale.search.statistics.calibration import calibrated_losses
from chorale.search.statistics.jackknife import deleted_blocks, standard_error
from chorale.search.statistics.main_score import main_score_of, metric_name
from chorale.search.statistics.multi_label_scores import block_values, weighted_maps
from chorale.search.statistics.selection_bias import kind_selection_bias

REFERENCE_KIND = "soft_vote"
"""The kind that the others are compared with, and that is chosen among equals."""

COMPARED_ONLY = ("best_single", "hard_vote")
"""Kinds that are reported for comparison and never chosen."""


@dataclass(frozen=True)
class NestedPredictions:
    """One kind's predictions for the development rows, (n_tracks, n_classes) each.

    `held_out` are of models that were not fitted on a row's group, `fitted` of the one fitted on
    all rows.
    """

    held_out: Proba
    fitted: Proba


@dataclass(frozen=True)
class KindChoice:
    """The chosen kind of ensemble, the reason as a sentence, and the figures of every kind.

    `bias` is the selection bias of its held-out accuracy or mAP. `figures` maps a kind to `n`
    tracks, `accuracy` (`mAP` where multi-label) and calibrated `log_loss` (held out), `gap` (that
    score fitted minus held out), `gain` (that above soft vote's) with its standard error `gain_se`,
    and `verdict`.
    """

    kind: str
    reason: str
    figures: Mapping[str, Mapping[str, Any]]
    bias: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        figures = {kind: dict(one) for kind, one in self.figures.items()}
        return {"kind": self.kind, "reason": self.reason, "bias": self.bias, "figures": figures}


def choose_kind(
    nested: Mapping[str, NestedPredictions], labels: Labels, groups: Groups, *, seed: int
) -> KindChoice:
    """Chooses the kind of lowest calibrated log loss on held-out groups; of equals, soft vote.

    Args:
        nested: kind -> its predictions; soft vote must be among them.
        labels: (n_tracks,) class indices of the development rows, or (n_tracks, n_classes).
        groups: (n_tracks,) for standard errors and the bootstrap.
        seed: of the bootstrap that estimates the selection bias.
    """
    reference = nested[REFERENCE_KIND]
    losses = {kind: calibrated_losses(one.held_out, labels) for kind, one in nested.items()}
    figures = {
        kind: {
            **_figures(one, reference, labels, groups),
            "log_loss": mean_loss(losses[kind], labels),
        }
        for kind, one in nested.items()
    }
    kinds = sorted((k for k in nested if k not in COMPARED_ONLY), key=lambda k: k != REFERENCE_KIND)
    chosen = min(kinds, key=lambda kind: round(float(figures[kind]["log_loss"]), 9))
    for kind, one in figures.items():
        one["verdict"] = _verdict(kind, figures, chosen)
    losses_of, units = [losses[kind] for kind in kinds], groups
    if labels.ndim == 2:  # an mAP is no mean of tracks, but one of blocks of groups
        blocks, n_known = deleted_blocks(groups), is_known(labels).sum(axis=1)
        units = np.arange(blocks.n)
        right = [block_values(nested[kind].held_out, labels, blocks) for kind in kinds]
        losses_of = [
            np.bincount(blocks.of_row, weights=one * n_known).astype(np.float64)
            for one in losses_of
        ]
    else:
        right = [correct(nested[kind].held_out, labels) for kind in kinds]
    bias = kind_selection_bias(losses_of, right, units, seed=seed)
    return KindChoice(chosen, _reason(chosen, kinds, figures), figures, bias)


def group_standard_error(values: Floats, groups: Groups) -> float:
    """The cluster-robust standard error of the mean of `values` (n,).

    0 for a single group, where it cannot be estimated.

    Source: the ratio estimator of Cochran 1977, "Sampling Techniques", section 9A.
    """
    _, group_of = np.unique(groups, return_inverse=True)
    sums = np.bincount(group_of, weights=values - values.mean())
    n_groups = len(sums)
    if n_groups == 1:
        return 0.0
    return float(np.sqrt(n_groups / (n_groups - 1) * np.sum(sums**2)) / len(values))


def _figures(
    one: NestedPredictions, reference: NestedPredictions, labels: Labels, groups: Groups
) -> dict[str, Any]:
    if labels.ndim == 2:
        return _multi_label_figures(one, reference, labels, groups)
    right = correct(one.held_out, labels)
    gain = right - correct(reference.held_out, labels)
    return {
        "n": len(labels),
        "accuracy": float(right.mean()),
        "gap": accuracy(one.fitted, labels) - float(right.mean()),
        "gain": float(gain.mean()),
        "gain_se": group_standard_error(gain, groups),
    }


def _multi_label_figures(
    one: NestedPredictions, reference: NestedPredictions, labels: Labels, groups: Groups
) -> dict[str, Any]:
    held_out, theirs = (main_score(each.held_out, labels) for each in (one, reference))
    weights = deleted_blocks(groups).without_each()
    values = [weighted_maps(each.held_out, labels, weights) for each in (one, reference)]
    return {
        "n": len(labels),
        "mAP": held_out,
        "gap": main_score(one.fitted, labels) - held_out,
        "gain": held_out - theirs,
        "gain_se": standard_error(values[0] - values[1]) if len(weights) > 1 else 0.0,
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
    rival = REFERENCE_KIND
    if chosen == REFERENCE_KIND:
        rival = min(others, key=lambda kind: float(figures[kind]["log_loss"]))
    gain = 100 * (main_score_of(figures[chosen]) - main_score_of(figures[rival]))
    metric = metric_name(figures[chosen])
    return (
        f"{chosen}: on held-out groups its calibrated log loss is the lowest, "
        f"{figures[chosen]['log_loss']:.3f} ({rival}: {figures[rival]['log_loss']:.3f}); "
        f"its {metric} is {abs(gain):.1f} points {'higher' if gain >= 0 else 'lower'}"
    )
