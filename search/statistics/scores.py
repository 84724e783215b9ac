"""Scores with confidence intervals: accuracy, macro-F1, log loss, calibration error, comparisons.

Multi-label probabilities, where labels are (n, n_classes), have the scores of
`multi_label_scores`, with the mAP in the place of the accuracy.

The tracks of one group (artist, speaker) are correlated, so intervals account for groups.
`search.evaluation.members` scores members, ensembles and baselines with this.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.seeds import Purpose, random_generator
from chorale.lightning_models import metrics
from chorale.lightning_models.metrics import correct
from chorale.search.statistics.arrays import Groups, Labels, Proba, check_rows
from chorale.search.statistics.intervals import (
    FEW_GROUPS,
    Interval,
    difference_interval,
    proportion_interval,
)
from chorale.search.statistics.jackknife import deleted_blocks
from chorale.search.statistics.main_score import main_score_of
from chorale.search.statistics.multi_label_scores import block_values, map_difference, score_labels
from chorale.search.statistics.thresholds import Thresholds

DRAWS_PER_BATCH = 1_000_000
"""Bootstrap draws times groups that are held in memory at a time."""


@dataclass(frozen=True)
class Scores:
    """The scores of probabilities on `n` tracks of `n_groups` groups.

    `log_loss` is in nats, `ece` is the expected calibration error, `ci95` the 95 % interval of the
    accuracy. All are finite.
    """

    accuracy: float
    macro_f1: float
    log_loss: float
    ece: float
    n: int
    n_groups: int
    ci95: Interval

    @property
    def few_groups(self) -> bool:
        """Whether there are so few groups that `ci95` is wide whatever the predictions."""
        return self.n_groups < FEW_GROUPS

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready scores, with `few_groups`."""
        return {**asdict(self), "ci95": list(self.ci95), "few_groups": self.few_groups}


def score(
    proba: Proba,
    labels: Labels,
    groups: Groups,
    *,
    scored: NDArray[np.bool_] | None = None,
) -> Scores:
    """Scores `proba` (n, n_classes) against `labels` (n,), with groups (n,) for the interval.

    Args:
        proba: rows sum to 1.
        labels: class indices.
        groups: clusters of correlated tracks.
        scored: a mask (n_classes,) of the classes that count in `macro_f1`; by default all.

    Raises:
        UserError: shapes do not match, a value is not a probability, or there are no tracks.
    """
    check_rows(proba, labels, groups, n_dims=2)
    right = proba.argmax(axis=1) == labels
    return Scores(
        accuracy=metrics.accuracy(proba, labels),
        macro_f1=metrics.macro_f1(proba, labels, scored=scored),
        log_loss=metrics.log_loss(proba, labels),
        ece=metrics.expected_calibration_error(proba, labels),
        n=len(labels),
        n_groups=len(np.unique(groups)),
        ci95=proportion_interval(right.astype(np.float64), groups),
    )


def json_scores(
    proba: Proba,
    labels: Labels,
    groups: Groups,
    *,
    scored: NDArray[np.bool_] | None = None,
    thresholds: Thresholds | None = None,
) -> dict[str, Any]:
    """JSON-ready scores of either kind: `score`'s, or where labels are (n, n_classes) those of
    `multi_label_scores.score_labels`, at `thresholds`. Arguments and errors are theirs.
    """
    if labels.ndim == 2:
        return score_labels(proba, labels, groups, scored=scored, thresholds=thresholds).as_dict()
    return score(proba, labels, groups, scored=scored).as_dict()


def paired_difference(
    proba_a: Proba,
    proba_b: Proba,
    labels: Labels,
    groups: Groups,
) -> tuple[float, Interval]:
    """The accuracy (multi-label: mAP) of `proba_a` minus that of `proba_b`, and its 95 % interval.

    The difference is paired by track, so tracks that are hard for both do not widen the interval.
    Identical probabilities come from one and the same model, so then the interval is 0 to 0.
    Arguments are those of `score`.

    Raises:
        UserError: as `score`.
    """
    check_rows(proba_a, labels, groups, n_dims=2)
    check_rows(proba_b, labels, groups, n_dims=2)
    if labels.ndim == 2:
        return map_difference(proba_a, proba_b, labels, groups)
    gain = correct(proba_a, labels) - correct(proba_b, labels)
    return float(gain.mean()), _difference_interval(proba_a, proba_b, gain, groups)


def paired_gains(
    proba_a: Proba, proba_b: Proba, labels: Labels, groups: Groups
) -> tuple[NDArray[np.float64], Groups]:
    """Values with the difference of `paired_difference` as their mean, and the unit of each.

    One value for each track (1: only the first is right, -1: only the second, 0), and its group.
    Where multi-label, one for each block of groups: see `multi_label_scores.block_values`.
    """
    if labels.ndim == 1:
        return correct(proba_a, labels) - correct(proba_b, labels), groups
    blocks = deleted_blocks(groups)
    gain = block_values(proba_a, labels, blocks) - block_values(proba_b, labels, blocks)
    return gain, np.arange(blocks.n)


def pairwise_comparisons(
    proba_of: Mapping[str, Proba], labels: Labels, groups: Groups
) -> list[dict[str, Any]]:
    """Compares every two models: the difference of their accuracies, and McNemar's test.

    Each comparison has `first`, `second`, `difference` (first minus second), `ci95` as in
    `paired_difference`, and, except where multi-label, the keys of `mcnemar`. JSON-ready.

    Args:
        proba_of: name -> (n, n_classes) probabilities for the same tracks.
        labels: (n,) class indices.
        groups: (n,) clusters of correlated tracks.

    Raises:
        UserError: as `score`.
    """
    for proba in proba_of.values():
        check_rows(proba, labels, groups, n_dims=2)
    found = []
    for a, b in combinations(proba_of, 2):
        difference, ci95 = paired_difference(proba_of[a], proba_of[b], labels, groups)
        one: dict[str, Any] = {
            "first": a,
            "second": b,
            "difference": difference,
            "ci95": list(ci95),
        }
        if labels.ndim == 1:
            one |= mcnemar(proba_of[a], proba_of[b], labels, groups)
        found.append(one)
    return found


def _difference_interval(
    first: Proba, second: Proba, gain: NDArray[np.float64], groups: Groups
) -> Interval:
    return (0.0, 0.0) if np.array_equal(first, second) else difference_interval(gain, groups)


def mcnemar(proba_a: Proba, proba_b: Proba, labels: Labels, groups: Groups) -> dict[str, Any]:
    """McNemar's exact two-sided test of two models on paired tracks, randomised by group.

    `only_first` and `only_second` count the tracks that only one classifies correctly, `mcnemar_p`
    is the p-value. A group's tracks are correlated, so signs are flipped for all tracks of a group
    together; where each track is a group of its own this is McNemar's exact test.

    Source: McNemar 1947, doi:10.1007/BF02295996; the exact form as in Dietterich 1998,
    "Approximate Statistical Tests for Comparing Supervised Classification Learning Algorithms",
    doi:10.1162/089976698300017197; groups after Canay, Romano and Shaikh 2017, "Randomization Tests
    Under an Approximate Symmetry Assumption", doi:10.3982/ECTA13081.
    """
    right_a, right_b = (proba.argmax(axis=1) == labels for proba in (proba_a, proba_b))
    first, second = int(np.sum(right_a & ~right_b)), int(np.sum(right_b & ~right_a))
    _, group_of = np.unique(groups, return_inverse=True)
    leads = np.bincount(group_of, weights=right_a * 1.0 - right_b).astype(np.int64)
    return {"only_first": first, "only_second": second, "mcnemar_p": _sign_flip_p(leads)}


def _sign_flip_p(leads: NDArray[np.int64]) -> float:
    """The probability that random signs give a sum of `leads` (n_groups,) as far from 0."""
    total = int(np.abs(leads).sum())
    shares = np.zeros(2 * total + 1)  # the probability of each sum, from -total to total
    shares[total] = 1.0
    for lead in np.abs(leads[leads != 0]):
        shares = (np.roll(shares, lead) + np.roll(shares, -lead)) / 2
    far = np.abs(np.arange(-total, total + 1)) >= abs(int(leads.sum()))
    return min(1.0, float(shares[far].sum()))


def per_class_scores(
    proba: Proba, labels: Labels, names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """`n`, `precision`, `recall` and `f1` of each class by name, JSON-ready.

    Undefined values (the recall of a class without tracks, the precision of one that is never
    predicted, the f1 of one that is neither) are None.
    """
    counts = metrics.confusion_matrix(proba, labels)
    found = {}
    for i, name in enumerate(names):
        hits, n, n_predicted = int(counts[i, i]), int(counts[i].sum()), int(counts[:, i].sum())
        found[name] = {
            "n": n,
            "precision": hits / n_predicted if n_predicted else None,
            "recall": hits / n if n else None,
            "f1": 2 * hits / (n + n_predicted) if n + n_predicted else None,
        }
    return found


def optimism(scored: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Optimism: the `validation` and the `out_of_fold` accuracy, each minus the test accuracy.

    Args:
        scored: "validation", "out_of_fold" and "test", each with its `accuracy` or `mAP`.
    """
    on_test = main_score_of(scored["test"])
    return {part: main_score_of(scored[part]) - on_test for part in ("validation", "out_of_fold")}


def group_bootstrap(
    values: NDArray[np.float64], groups: Groups, *, seed: int, n_boot: int
) -> NDArray[np.float64]:
    """The group (cluster) bootstrap of the means of `values` (n, n_columns): (n_boot, n_columns).

    Each draw has as many groups as there are, with replacement, each with all its rows.
    """
    _, group_of = np.unique(groups, return_inverse=True)
    sizes = np.bincount(group_of)
    n_groups = len(sizes)
    sums = np.stack([np.bincount(group_of, weights=column) for column in values.T], axis=1)
    rng = random_generator(seed, Purpose.BOOTSTRAP)
    means = []
    for start in range(0, n_boot, step := max(1, DRAWS_PER_BATCH // n_groups)):
        draws = min(step, n_boot - start)
        # how often each group is drawn: (draws, n_groups)
        times = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=draws)
        means.append((times @ sums) / (times @ sizes)[:, None])
    return np.concatenate(means)
