"""Honest scores: what the probabilities are worth on these tracks, and how sure that is.

The tracks of one group (artist, speaker) are alike, so intervals come from drawing groups, not
tracks. `search.combine` scores members, ensembles and baselines here.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_models import metrics
from search.base import Groups, Labels, Proba, check_rows

FEW_GROUPS = 10
"""With fewer groups, a percentile interval is too narrow to be taken at its word."""

LEVEL_PERCENT = 95.0
DRAWS_AT_ONCE = 1_000_000
"""Draws times groups that are held in memory at a time."""

Interval = tuple[float, float]


@dataclass(frozen=True)
class Scores:
    """What probabilities are worth on `n` tracks of `n_groups` groups.

    `log_loss` is in nats, `ece` is the expected calibration error, `ci95` the interval of the
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
        """Whether there are so few groups that `ci95` is narrower than it should be."""
        return self.n_groups < FEW_GROUPS

    def as_dict(self) -> dict[str, Any]:
        """The scores as JSON can hold them, `few_groups` with them."""
        return {**asdict(self), "ci95": list(self.ci95), "few_groups": self.few_groups}


def score(
    proba: Proba, labels: Labels, groups: Groups, *, seed: int = 0, n_boot: int = 2000
) -> Scores:
    """Scores `proba` (n, n_classes) against `labels` (n,), with groups (n,) for the interval.

    Args:
        proba: rows sum to 1.
        labels: class indices.
        groups: what is drawn, with replacement, for the interval.
        seed: of the draws.
        n_boot: how many draws.

    Raises:
        UserError: the shapes do not fit, a value is no probability, or there are no tracks.
    """
    check_rows(proba, labels, groups, n_dims=2)
    right = proba.argmax(axis=1) == labels
    return Scores(
        accuracy=metrics.accuracy(proba, labels),
        macro_f1=metrics.macro_f1(proba, labels),
        log_loss=metrics.log_loss(proba, labels),
        ece=metrics.expected_calibration_error(proba, labels),
        n=len(labels),
        n_groups=len(np.unique(groups)),
        ci95=_interval(
            right.astype(np.float64), groups, seed=seed, n_boot=n_boot, bounds=(0.0, 1.0)
        ),
    )


def paired_difference(
    proba_a: Proba,
    proba_b: Proba,
    labels: Labels,
    groups: Groups,
    *,
    seed: int = 0,
    n_boot: int = 2000,
) -> tuple[float, Interval]:
    """How much higher the accuracy of `proba_a` is than that of `proba_b`, and its 95 % interval.

    Both are about the same tracks, and each draw takes the same groups for both, so what is hard
    for both does not widen the interval. Arguments are those of `score`.

    Raises:
        UserError: as `score`.
    """
    check_rows(proba_a, labels, groups, n_dims=2)
    check_rows(proba_b, labels, groups, n_dims=2)
    gain = (proba_a.argmax(axis=1) == labels).astype(np.float64)
    gain -= proba_b.argmax(axis=1) == labels
    interval = _interval(gain, groups, seed=seed, n_boot=n_boot, bounds=(-1.0, 1.0))
    return float(gain.mean()), interval


def _interval(
    values: NDArray[np.float64], groups: Groups, *, seed: int, n_boot: int, bounds: Interval
) -> Interval:
    """Percentile bootstrap over groups of the mean of `values` (n,).

    One group says nothing of others, so then it is all of `bounds`.

    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapters 8 and 13,
    doi:10.1201/9780429246593; whole groups as in Field and Welsh 2007, "Bootstrapping clustered
    data", doi:10.1111/j.1467-9868.2007.00593.x.
    """
    _, member_of = np.unique(groups, return_inverse=True)
    sums, sizes = np.bincount(member_of, weights=values), np.bincount(member_of)
    n_groups = len(sizes)
    if n_groups == 1:
        return bounds
    rng = np.random.default_rng(seed)
    means = []
    for start in range(0, n_boot, step := max(1, DRAWS_AT_ONCE // n_groups)):
        draws = min(step, n_boot - start)
        # how often each group is drawn: (draws, n_groups)
        times = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=draws)
        means.append((times @ sums) / (times @ sizes))
    tail = (100 - LEVEL_PERCENT) / 2
    low, high = np.percentile(np.concatenate(means), [tail, 100 - tail])
    return float(low), float(high)
