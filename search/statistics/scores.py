"""Honest scores: what the probabilities are worth on these tracks, and how sure that is.

The tracks of one group (artist, speaker) are alike, so intervals count groups, not tracks.
`search.evaluation.members` scores members, ensembles and baselines here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.seeds import Purpose, generator
from chorale.lightning_models import metrics
from chorale.lightning_models.metrics import correct
from chorale.search.statistics.arrays import Groups, Labels, Proba, check_rows
from chorale.search.statistics.intervals import Interval, of_difference, of_share

FEW_GROUPS = 10
"""With fewer groups an interval is wide whatever the tracks say, and a report says so."""

DRAWS_AT_ONCE = 1_000_000
"""Draws times groups that are held in memory at a time."""


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


def score(proba: Proba, labels: Labels, groups: Groups) -> Scores:
    """Scores `proba` (n, n_classes) against `labels` (n,), with groups (n,) for the interval.

    Args:
        proba: rows sum to 1.
        labels: class indices.
        groups: whose tracks are alike.

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
        ci95=share_interval(right, groups),
    )


def paired_difference(
    proba_a: Proba,
    proba_b: Proba,
    labels: Labels,
    groups: Groups,
) -> tuple[float, Interval]:
    """How much higher the accuracy of `proba_a` is than that of `proba_b`, and its 95 % interval.

    Both are about the same tracks, so what is hard for both does not widen the interval. What says
    the same probabilities, to the bit, is the same, and no chance is in it: then it is 0 to 0.
    Arguments are those of `score`.

    Raises:
        UserError: as `score`.
    """
    check_rows(proba_a, labels, groups, n_dims=2)
    check_rows(proba_b, labels, groups, n_dims=2)
    gain = correct(proba_a, labels) - correct(proba_b, labels)
    return float(gain.mean()), _lead(proba_a, proba_b, gain, groups)


def compare(said: Mapping[str, Proba], labels: Labels, groups: Groups) -> list[dict[str, Any]]:
    """Every two of `said`: `difference` and `ci95` of their accuracies, and McNemar's test.

    Each is `first`, `second`, `difference` (first minus second), `ci95` as in `paired_difference`,
    and what `mcnemar` gives. JSON-ready.

    Args:
        said: name -> (n, n_classes) probabilities of the same tracks.
        labels: (n,) class indices.
        groups: (n,) whose tracks are alike.

    Raises:
        UserError: as `score`.
    """
    for proba in said.values():
        check_rows(proba, labels, groups, n_dims=2)
    found = []
    for a, b in combinations(said, 2):
        difference, ci95 = paired_difference(said[a], said[b], labels, groups)
        one = {"first": a, "second": b, "difference": difference, "ci95": list(ci95)}
        found.append({**one, **mcnemar(said[a], said[b], labels, groups)})
    return found


def _lead(first: Proba, second: Proba, gain: NDArray[np.float64], groups: Groups) -> Interval:
    return (0.0, 0.0) if np.array_equal(first, second) else of_difference(gain, groups)


def mcnemar(proba_a: Proba, proba_b: Proba, labels: Labels, groups: Groups) -> dict[str, Any]:
    """Whether one is right more often where only one of them is: exact, two-sided.

    `only_first` and `only_second` count the tracks that only one names rightly, `mcnemar_p` is how
    likely so uneven counts are if both are equally good. A group's tracks hang together, so it is
    whole groups whose lead is turned round by chance; where each track is a group of its own that
    is McNemar's exact test.

    Source: McNemar 1947, doi:10.1007/BF02295996; the exact form as in Dietterich 1998,
    "Approximate Statistical Tests for Comparing Supervised Classification Learning Algorithms",
    doi:10.1162/089976698300017197; groups after Canay, Romano and Shaikh 2017, "Randomization Tests
    Under an Approximate Symmetry Assumption", doi:10.3982/ECTA13081.
    """
    right_a, right_b = (proba.argmax(axis=1) == labels for proba in (proba_a, proba_b))
    first, second = int(np.sum(right_a & ~right_b)), int(np.sum(right_b & ~right_a))
    _, group_of = np.unique(groups, return_inverse=True)
    leads = np.bincount(group_of, weights=right_a * 1.0 - right_b).astype(np.int64)
    return {"only_first": first, "only_second": second, "mcnemar_p": _by_chance(leads)}


def _by_chance(leads: NDArray[np.int64]) -> float:
    """How often the sum of `leads` (n_groups,) is as far off 0 where each sign is by chance."""
    total = int(np.abs(leads).sum())
    shares = np.zeros(2 * total + 1)  # of each sum there can be, from -total to total
    shares[total] = 1.0
    for lead in np.abs(leads[leads != 0]):
        shares = (np.roll(shares, lead) + np.roll(shares, -lead)) / 2
    far = np.abs(np.arange(-total, total + 1)) >= abs(int(leads.sum()))
    return min(1.0, float(shares[far].sum()))


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


def share_interval(values: NDArray[Any], groups: Groups) -> Interval:
    """The 95 % interval of the mean of `values` (n,) that are 0 or 1; see `intervals`."""
    return of_share(values.astype(np.float64), groups)


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
