"""How confident a model is on tracks like those it was trained for, and how far that is from right.

The reference with which `search.champion.health` compares the answers of a served bundle, whose
true classes nobody knows. `search.champion.pack` fits it on held-out tracks and keeps it in the
bundle. Confidence is the calibrated probability of the predicted class.

- The *level*: the mean confidence of served answers on such tracks. Served answers come from the
  mean of all folds' networks. Test rows do as well, but there may be few; out-of-fold rows come
  from single networks, so the gain of averaging is added to theirs: by the temperature that
  `search.statistics.fold_averaging` gives the mean, it is in confidence what it is in accuracy. No
  label is used.
- The *overconfidence*: mean confidence minus accuracy of out-of-fold rows, each calibrated at a
  temperature of other groups.

Both have an error from having few groups, by the effective sample size of
`search.statistics.intervals`, whose assumptions they share.

Source: Guillory et al. 2021, "Predicting with Confidence on Unseen Distributions", arXiv:2107.03315
(difference of confidences).
"""

import numpy as np
from scipy.special import ndtri

from chorale.search.statistics.arrays import Floats, Groups, Labels, Proba
from chorale.search.statistics.confidence_reference import ConfidenceReference
from chorale.search.statistics.intervals import (
    TAIL_PROBABILITY,
    design_effect,
    effective_sample_size,
    sums_by_group,
)

Z_TWO_SIDED = float(ndtri(1 - TAIL_PROBABILITY))
"""Of a 95 % interval."""

Z_ONE_SIDED = float(ndtri(0.95))
"""Of a limit on one side with 95 % confidence."""


def fit_confidence_reference(
    out_of_fold: Proba,
    labels: Labels,
    groups: Groups,
    *,
    gain: float = 0.0,
    served: tuple[Proba, Groups] | None = None,
    flagged: float = 0.0,
) -> ConfidenceReference:
    """Measures the reference on held-out rows.

    Args:
        out_of_fold: (n, n_classes) calibrated, each row at a temperature of other groups.
        labels: (n,) their classes.
        groups: (n,).
        gain: the confidence that a served answer has more than an out-of-fold row, as it comes from
            a mean of networks.
        served: rows (n_test, n_classes) as the bundle predicts them, and their groups, other ones
            than `groups`; their classes are not used. None where there are none.
        flagged: the share of such tracks that is flagged as out of distribution.
    """
    confidence = np.asarray(out_of_fold.max(axis=1), np.float64)
    surplus = confidence - (out_of_fold.argmax(axis=1) == labels)
    level = np.minimum(1.0, confidence + gain)
    numbers = np.unique(groups, return_inverse=True)[1]
    level_groups = numbers
    if served is not None:
        others = np.unique(served[1], return_inverse=True)[1] + numbers.max() + 1
        level = np.concatenate([level, served[0].max(axis=1)])
        level_groups = np.concatenate([numbers, others])
    correlation, size = _correlation(surplus, numbers)
    return ConfidenceReference(
        n_tracks=len(level),
        n_groups=len(np.unique(level_groups)),
        confidence=float(level.mean()),
        confidence_std=float(level.std()),
        confidence_margin=_margin(level, level_groups, Z_ONE_SIDED),
        overconfidence=float(surplus.mean()),
        overconfidence_margin=_margin(surplus, numbers, Z_TWO_SIDED),
        flagged=flagged,
        confidence_correlation=_correlation(confidence, numbers)[0],
        group_correlation=correlation,
        group_size=size,
    )


def _margin(values: Floats, groups: Groups, z: float) -> float:
    """`z` standard errors of the mean of grouped values (n,), at most 1; of a single group 1."""
    sums, sizes = sums_by_group(values, groups)
    if len(sizes) == 1:
        return 1.0
    variance = float(values.var())
    n = effective_sample_size(
        sums - values.mean() * sizes, sizes, variance=variance, n_informative=len(sizes)
    )
    return min(1.0, z * float(np.sqrt(variance / n)))


def _correlation(values: Floats, groups: Groups) -> tuple[float, float]:
    """The intraclass correlation of grouped values (n,), and the size of a row's group."""
    sums, sizes = sums_by_group(values, groups)
    size = float(np.sum(sizes**2) / sizes.sum())
    if len(sizes) == 1 or size == 1:
        return 0.0, size
    design = design_effect(
        sums - values.mean() * sizes,
        sizes,
        variance=float(values.var()),
        n_informative=len(sizes),
    )
    return min(1.0, (design - 1) / (size - 1)), size
