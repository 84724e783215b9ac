"""Scores of multi-label probabilities with confidence intervals: mAP, lwlrap, F1, log loss.

`search.statistics.scores` calls this where labels are (n, n_classes). The interval is of the mAP
that other test sets of this size have on average: the mAP of few rows is too high (by 0.02 to 0.14
in the simulation, as of a label with one row the rank of that row counts in full), so it is no
estimate of that of infinitely many rows. The standard error is a jackknife over groups, with a
prior, the interval Student's on the logit scale. `tests/benchmarks/bench_statistics.py` measures
the coverage.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.label_sets import is_known, is_present
from chorale.lightning_models import metrics, multi_label_metrics
from chorale.search.statistics.arrays import Floats, Groups, Labels, Proba, check_rows
from chorale.search.statistics.intervals import FEW_GROUPS, Interval, proportion_interval
from chorale.search.statistics.jackknife import Blocks, deleted_blocks, standard_error
from chorale.search.statistics.softmax import sigmoid
from chorale.search.statistics.thresholds import Thresholds, labels_above

PRIOR_GROUPS = 3
"""Groups that the prior of the standard error of an mAP is worth. The jackknife's of few groups is
noisy: without the prior, intervals covered 0.91 to 0.98 in the simulation, and those of five groups
were half as wide again; with it 0.93 to 0.99, more than 0.98 only of five to ten groups (40 cells
of 300 sets; one of 20 groups had 0.907, and 0.938 of 1,500 others)."""

PRIOR_VARIANCE = 1.75
"""The prior variance of an mAP is that of as many rows as there are labels of rows, times this."""

LEAST_SPREAD = 0.01
"""The smallest mAP * (1 - mAP) in the prior."""

DIFFERENCE_PRIOR_VARIANCE = 2.5
DIFFERENCE_LEAST_SPREAD = 0.06
"""The same for a difference of two mAPs, less what both have in common: see `_prior_variance`. The
jackknife alone covered 0.918 to 0.927 of 5 and 10 groups with 4 labels and an mAP near 0.95, where
sets with few wrong ranks have a small difference and a small standard error, both by chance. With
the prior it is 0.99 of 5 groups (with 0.6 to 0.7 times the width), 0.96 to 0.99 of 10 and 0.94 to
0.98 of 20 to 150 (40 cells of 300 sets; one of 60 groups had 0.923, and 0.931 of 1,500 others)."""

MIN_STANDARD_ERROR = 1e-9
"""Below it a standard error is 0 but for rounding: no row was ranked wrongly, or each block adds as
much to both models."""


@dataclass(frozen=True)
class MultiLabelScores:
    """The scores of multi-label probabilities on `n` tracks of `n_groups` groups.

    `mAP` is the macro mean average precision with its 95 % interval `ci95`, `log_loss` the mean
    binary cross-entropy in nats, `ece` the calibration error of all labels. The F1 scores are at
    the thresholds that were given.
    """

    mAP: float  # noqa: N815  the metric's usual name
    lwlrap: float
    macro_f1: float
    micro_f1: float
    log_loss: float
    ece: float
    n: int
    n_groups: int
    ci95: Interval

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, with `few_groups`: whether `ci95` is wide whatever the predictions."""
        few = self.n_groups < FEW_GROUPS
        return {**asdict(self), "ci95": list(self.ci95), "few_groups": few}


def score_labels(
    proba: Proba,
    labels: Labels,
    groups: Groups,
    *,
    scored: NDArray[np.bool_] | None = None,
    thresholds: Thresholds | None = None,
) -> MultiLabelScores:
    """Scores `proba` (n, n_classes) against `labels` of 0, 1 and `UNKNOWN`, with groups (n,).

    Args:
        proba: of each label.
        labels: (n, n_classes).
        groups: clusters of correlated tracks.
        scored: a mask (n_classes,) of the labels that count in macro means; by default all.
        thresholds: from which a label is predicted; by default 0.5.

    Raises:
        UserError: shapes do not match, a value is not a probability, or there are no tracks.
    """
    check_rows(proba, labels, groups, n_dims=2)
    chosen = labels_above(proba, thresholds)
    value = multi_label_metrics.mean_average_precision(proba, labels, scored=scored)
    return MultiLabelScores(
        mAP=value,
        lwlrap=multi_label_metrics.lwlrap(proba, labels),
        macro_f1=multi_label_metrics.macro_label_f1(chosen, labels, scored=scored),
        micro_f1=multi_label_metrics.micro_f1(chosen, labels),
        log_loss=metrics.log_loss(proba, labels),
        ece=metrics.expected_calibration_error(proba, labels),
        n=len(labels),
        n_groups=len(np.unique(groups)),
        ci95=map_interval(value, proba, labels, groups, scored=scored),
    )


def map_interval(
    value: float,
    proba: Proba,
    labels: Labels,
    groups: Groups,
    *,
    scored: NDArray[np.bool_] | None = None,
) -> Interval:
    """The 95 % interval of an mAP; 0 to 1 for a single group. Arguments as in `score_labels`.

    Where every row is ranked right, it is that of a share of tracks that are all right.
    """
    blocks = deleted_blocks(groups)
    if blocks.n == 1:
        return 0.0, 1.0
    error = standard_error(weighted_maps(proba, labels, blocks.without_each(), scored=scored))
    if error < MIN_STANDARD_ERROR or not 0 < value < 1:
        return min(value, _perfect_low(groups)), 1.0
    counted = labels if scored is None else labels[:, scored]
    spread = max(value * (1 - value), LEAST_SPREAD)
    prior = PRIOR_VARIANCE * spread / int(is_present(counted).sum())
    weight = PRIOR_GROUPS / (PRIOR_GROUPS + blocks.n_equal - 1)
    error = float(np.sqrt(weight * prior + (1 - weight) * error**2))
    center, reach = np.log(value / (1 - value)), blocks.t(PRIOR_GROUPS) * error
    reach /= value * (1 - value)
    low, high = sigmoid(np.array([center - reach, center + reach]))
    return float(low), float(high)


def map_difference(
    proba_a: Proba, proba_b: Proba, labels: Labels, groups: Groups
) -> tuple[float, Interval]:
    """The mAP of `proba_a` minus that of `proba_b`, and its 95 % interval, paired by group.

    Where both rank all known rows equally, as a model and its calibrated copy, the interval is 0 to
    0.
    """
    mean_ap = multi_label_metrics.mean_average_precision
    proba_a, proba_b = (np.where(is_known(labels), one, 0) for one in (proba_a, proba_b))
    difference = mean_ap(proba_a, labels) - mean_ap(proba_b, labels)
    if np.array_equal(_ranks(proba_a), _ranks(proba_b)):
        return 0.0, (0.0, 0.0)
    blocks = deleted_blocks(groups)
    if blocks.n == 1:
        return difference, (-1.0, 1.0)
    weights = blocks.without_each()
    error = standard_error(
        weighted_maps(proba_a, labels, weights) - weighted_maps(proba_b, labels, weights)
    )
    if error < MIN_STANDARD_ERROR:
        reach = 1 - _perfect_low(groups)
    else:
        weight = PRIOR_GROUPS / (PRIOR_GROUPS + blocks.n_equal - 1)
        prior = _prior_variance(proba_a, proba_b, labels)
        reach = blocks.t(PRIOR_GROUPS) * float(np.sqrt(weight * prior + (1 - weight) * error**2))
    return difference, (max(-1.0, difference - reach), min(1.0, difference + reach))


def block_values(proba: Proba, labels: Labels, blocks: Blocks) -> Floats:
    """Values (n_blocks,) with the mAP as their mean: the jackknife's pseudo-values, shifted.

    Each says how much the rows of a block add. Tests of means of independent groups apply to them,
    and of two models on the same rows they are paired.

    Source: Tukey 1958, "Bias and confidence in not-quite large samples", Annals of Mathematical
    Statistics 29, 614.
    """
    value = multi_label_metrics.mean_average_precision(proba, labels)
    if blocks.n == 1:
        return np.array([value])
    without = weighted_maps(proba, labels, blocks.without_each())
    return np.asarray(value + (blocks.n - 1) * (without.mean() - without))


def weighted_maps(
    proba: Proba,
    labels: Labels,
    weights: Floats,
    *,
    scored: NDArray[np.bool_] | None = None,
) -> Floats:
    """The mAP of weighted rows, (n_weightings,).

    Args:
        proba: (n, n_classes).
        labels: (n, n_classes).
        weights: (n_weightings, n), not negative.
        scored: as `score_labels`.
    """
    present, known = is_present(labels), is_known(labels)
    used = present.any(axis=0) if scored is None else present.any(axis=0) & scored
    total, counted = np.zeros(len(weights)), np.zeros(len(weights))
    for label in np.flatnonzero(used):
        rows = np.flatnonzero(known[:, label])
        order = rows[np.argsort(-proba[rows, label], kind="stable")]
        ranked = proba[order, label]
        ends = np.append(np.flatnonzero(np.diff(ranked)), len(order) - 1)  # ties end
        in_order = weights[:, order]
        hits = np.cumsum(in_order * present[order, label], axis=1)[:, ends]
        above = np.cumsum(in_order, axis=1)[:, ends]
        n_true = hits[:, -1]
        steps = np.diff(hits, axis=1, prepend=0)
        has = n_true > 0
        precision = np.divide(hits, above, out=np.zeros_like(hits), where=above > 0)
        total[has] += (steps * precision).sum(axis=1)[has] / n_true[has]
        counted += has
    return np.asarray(total / np.maximum(counted, 1))


def _prior_variance(proba_a: Proba, proba_b: Proba, labels: Labels) -> float:
    """The prior variance of a difference of two mAPs: the less alike the models rank, the larger.

    Probabilities of unknown pairs are 0. The models are alike as the correlation of their ranks
    among the rows with a label and among those without it: for the rest of it, ranks are right.
    """
    among = [_ranks(proba).astype(np.float64) for proba in (proba_a, proba_b)]
    for present in (is_present(labels), labels == 0):
        n = np.maximum(present.sum(axis=0), 1)
        for ranks in among:
            ranks -= present * ((ranks * present).sum(axis=0) / n)
    a, b = among
    norm = float(np.sqrt((a**2).sum() * (b**2).sum()))
    alike = float((a * b).sum()) / norm if norm > 0 else 0.0
    spreads = []
    for proba in (proba_a, proba_b):
        value = multi_label_metrics.mean_average_precision(proba, labels)
        spreads.append(max(value * (1 - value), DIFFERENCE_LEAST_SPREAD))
    common = 2 * alike * float(np.sqrt(spreads[0] * spreads[1]))
    n_present = max(1, int(is_present(labels).sum()))
    return DIFFERENCE_PRIOR_VARIANCE * (sum(spreads) - common) / n_present


def _ranks(proba: Proba) -> NDArray[np.int64]:
    """The rank of each row for each label, (n, n_classes); equal ones share a rank."""
    columns = (np.unique(column, return_inverse=True)[1] for column in proba.T)
    return np.stack(list(columns), axis=1).astype(np.int64)


def _perfect_low(groups: Groups) -> float:
    """The lower limit of a share of tracks that are all right."""
    return proportion_interval(np.ones(len(groups)), groups)[0]
