"""Honest scores: what the probabilities are worth on these tracks, and how sure that is.

The tracks of one group (artist, speaker) are alike, so intervals come from drawing groups, not
tracks. `search.combine` scores members, ensembles and baselines here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, stdtrit

from chorale.datasets.seeds import Purpose, generator
from chorale.lightning_models import metrics
from chorale.search.base import Groups, Labels, Proba, check_rows

FEW_GROUPS = 10
"""With fewer groups a percentile interval is too narrow, so Student's t has a say in it."""

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
        """Whether there are so few groups that `ci95` is wide whatever the tracks say."""
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


def compare(
    said: Mapping[str, Proba], labels: Labels, groups: Groups, *, seed: int = 0, n_boot: int = 2000
) -> list[dict[str, Any]]:
    """Every two of `said`: `difference` and `ci95` of their accuracies, and McNemar's test.

    Each is `first`, `second`, `difference` (first minus second), `ci95` as in `paired_difference`,
    and what `mcnemar` gives. JSON-ready.

    Args:
        said: name -> (n, n_classes) probabilities of the same tracks.
        labels: (n,) class indices.
        groups: (n,) what is drawn.
        seed: of the draws, which are the same for all.
        n_boot: how many draws.

    Raises:
        UserError: as `score`.
    """
    for proba in said.values():
        check_rows(proba, labels, groups, n_dims=2)
    pairs = list(combinations(said, 2))
    if not pairs:
        return []
    right = {name: (proba.argmax(axis=1) == labels) for name, proba in said.items()}
    gains = np.stack([right[a] * 1.0 - right[b] for a, b in pairs], axis=1)
    intervals = _intervals(gains, groups, seed=seed, n_boot=n_boot, bounds=(-1.0, 1.0))
    return [
        {
            "first": a,
            "second": b,
            "difference": float(gains[:, i].mean()),
            "ci95": list(intervals[i]),
            **mcnemar(said[a], said[b], labels),
        }
        for i, (a, b) in enumerate(pairs)
    ]


def mcnemar(proba_a: Proba, proba_b: Proba, labels: Labels) -> dict[str, Any]:
    """Whether one is right more often where only one of them is: exact, two-sided.

    `only_first` and `only_second` count the tracks that only one names rightly, `mcnemar_p` is how
    likely so uneven counts are if both are equally good. It takes tracks for independent, which
    those of one group are not: where groups are large, trust the paired interval.

    Source: McNemar 1947, doi:10.1007/BF02295996; the exact form as in Dietterich 1998,
    "Approximate Statistical Tests for Comparing Supervised Classification Learning Algorithms",
    doi:10.1162/089976698300017197.
    """
    right_a, right_b = (proba.argmax(axis=1) == labels for proba in (proba_a, proba_b))
    first, second = int(np.sum(right_a & ~right_b)), int(np.sum(right_b & ~right_a))
    p = min(1.0, 2 * float(bdtr(min(first, second), first + second, 0.5)))
    return {"only_first": first, "only_second": second, "mcnemar_p": p}


def per_class(proba: Proba, labels: Labels, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Of each class by its name: `n`, `precision`, `recall` and `f1`, JSON-ready.

    What cannot be said (the recall of a class without tracks, the precision of one that is never
    named) is None; f1 is None for a class that is neither.
    """
    counts = metrics.confusion_matrix(proba, labels)
    found = {}
    for i, name in enumerate(names):
        hits, n, said = int(counts[i, i]), int(counts[i].sum()), int(counts[:, i].sum())
        found[name] = {
            "n": n,
            "precision": hits / said if said else None,
            "recall": hits / n if n else None,
            "f1": 2 * hits / (n + said) if n + said else None,
        }
    return found


def optimism(scored: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """By how much too high the accuracy was believed to be: `validation` and `out_of_fold`.

    Args:
        scored: "validation", "out_of_fold" and "test", each with its `accuracy`.
    """
    truth = scored["test"]["accuracy"]
    return {part: scored[part]["accuracy"] - truth for part in ("validation", "out_of_fold")}


def share_interval(
    values: NDArray[Any], groups: Groups, *, seed: int = 0, n_boot: int = 2000
) -> Interval:
    """The 95 % interval, by drawing groups, of the mean of `values` (n,) that are 0 or 1."""
    return _interval(values.astype(np.float64), groups, seed=seed, n_boot=n_boot, bounds=(0.0, 1.0))


def _interval(
    values: NDArray[np.float64], groups: Groups, *, seed: int, n_boot: int, bounds: Interval
) -> Interval:
    """`_intervals` of `values` (n,)."""
    return _intervals(values[:, None], groups, seed=seed, n_boot=n_boot, bounds=bounds)[0]


def _intervals(
    values: NDArray[np.float64], groups: Groups, *, seed: int, n_boot: int, bounds: Interval
) -> list[Interval]:
    """Percentile bootstrap over groups of the mean of each column of `values` (n, n_columns).

    All columns share the draws. One group says nothing of others, so then it is all of `bounds`; a
    few say little, and draws of them do not show how little: then the interval also takes in that
    of Student's t, with a degree of freedom less than there are groups, within `bounds`.

    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapters 8 and 13,
    doi:10.1201/9780429246593; whole groups as in Field and Welsh 2007, "Bootstrapping clustered
    data", doi:10.1111/j.1467-9868.2007.00593.x; few groups after Cameron, Gelbach and Miller 2008,
    "Bootstrap-Based Improvements for Inference with Clustered Errors", doi:10.1162/rest.90.3.414.
    """
    n_groups = len(np.unique(groups))
    if n_groups == 1:
        return [bounds] * values.shape[1]
    tail = (100 - LEVEL_PERCENT) / 2
    means = group_draws(values, groups, seed=seed, n_boot=n_boot)
    low, high = np.percentile(means, [tail, 100 - tail], axis=0)
    if n_groups < FEW_GROUPS:
        mean, half = values.mean(axis=0), _half_width(values, groups, tail_percent=tail)
        low = np.minimum(low, np.maximum(mean - half, bounds[0]))
        high = np.maximum(high, np.minimum(mean + half, bounds[1]))
    return [(float(a), float(b)) for a, b in zip(low, high, strict=True)]


def _half_width(
    values: NDArray[np.float64], groups: Groups, *, tail_percent: float
) -> NDArray[np.float64]:
    """Of the t interval of each column's mean, from how far whole groups lie off it."""
    _, member_of = np.unique(groups, return_inverse=True)
    off = values - values.mean(axis=0)
    sums = np.stack([np.bincount(member_of, weights=column) for column in off.T], axis=1)
    n_groups = len(sums)
    error = np.sqrt(n_groups / (n_groups - 1) * (sums**2).sum(axis=0)) / len(values)
    quantile = stdtrit(n_groups - 1, 1 - tail_percent / 100)
    return np.asarray(quantile * error)


def group_draws(
    values: NDArray[np.float64], groups: Groups, *, seed: int, n_boot: int
) -> NDArray[np.float64]:
    """The means of `values` (n, n_columns) where groups are drawn anew: (n_boot, n_columns).

    As many groups as there are, with replacement, each with all its rows.
    """
    _, member_of = np.unique(groups, return_inverse=True)
    sizes = np.bincount(member_of)
    n_groups = len(sizes)
    sums = np.stack([np.bincount(member_of, weights=column) for column in values.T], axis=1)
    rng = generator(seed, Purpose.BOOTSTRAP)
    means = []
    for start in range(0, n_boot, step := max(1, DRAWS_AT_ONCE // n_groups)):
        draws = min(step, n_boot - start)
        # how often each group is drawn: (draws, n_groups)
        times = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=draws)
        means.append((times @ sums) / (times @ sizes)[:, None])
    return np.concatenate(means)
