"""The expected test accuracy: what out-of-fold rows say of the test set, before it is opened.

An out-of-fold row is judged by one network of each member, the one that did not train on it; a test
row by the mean of all of them, one for each fold. A mean of more networks is better, so the
out-of-fold accuracy of M members, each trained on K folds, is too low by what going from M to M * K
networks brings. How accuracy rises with the number of networks is seen out of fold, over subsets of
the members. But members also differ in their configuration, and networks of one configuration do
not: of the rise only the part counts that comes with another seed. That part is seen on the search
fold, where each member's trial is a second network of it.

Assumptions: accuracy is a straight line in 1 / (number of networks); another fold changes a network
about as much as another seed; and `COMMON` of that is common to all members, as they lack the same
tracks, so that a vote does not average it away out of fold. Where either part cannot be seen (one
finalist in all, or trials that were not kept), nothing is added.

Source: Krogh and Vedelsby 1995, "Neural Network Ensembles, Cross Validation, and Active Learning"
(the error of a mean is the mean error less its members' ambiguity).
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from chorale.datasets.seeds import Purpose, generator
from chorale.lightning_models.metrics import Labels, Proba, accuracy
from chorale.search.calibration import temperature

COMMON = 0.15
"""Out of fold all members were trained on the same rows, so this cannot be seen there: between none
and what a fifth to a quarter would be in `tests/benchmarks/simulated_studies.py`."""

MOST_SIZES, MOST_SUBSETS = 12, 40
"""So many sizes of subsets are looked at, and so many subsets of a size."""

FEW_SUBSETS = 6
"""So many subsets of a size have their temperature fitted, which takes longer."""


@dataclass(frozen=True)
class Expected:
    """`out_of_fold` is the accuracy there, `gain` what the mean over `n_folds` networks brings."""

    out_of_fold: float
    gain: float
    n_folds: int

    @property
    def accuracy(self) -> float:
        """What the test set is expected to say."""
        return self.out_of_fold + self.gain

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"accuracy": self.accuracy, **asdict(self)}


@dataclass(frozen=True)
class Networks:
    """What is known of how the finalists' networks differ.

    `rise` is by how much the accuracy of the mean of endlessly many is above that of one, `cooling`
    by how much the logarithm of the temperature that it needs is below: a mean is the more timid
    the more it is of. `share` is the part of both that comes with another seed of the same
    configuration, 0 to 1.
    """

    rise: float
    cooling: float
    share: float

    def missing(self, *, n_members: float, n_folds: int) -> float:
        """The part of `rise` and `cooling` that a test row has and an out-of-fold row has not."""
        left = (1 - COMMON) / n_members + COMMON  # of one network's own errors, in such a vote
        return self.share * (1 - 1 / n_folds) * left

    def cooler(self, *, n_members: float, n_folds: int) -> float:
        """What the temperature from out-of-fold rows is multiplied by for test rows: 0 to 1."""
        return math.exp(-self.cooling * self.missing(n_members=n_members, n_folds=n_folds))


def expected_accuracy(
    chosen: float, networks: Networks, *, n_members: float, n_folds: int
) -> Expected:
    """What an ensemble is expected to reach on unseen groups.

    Args:
        chosen: its accuracy out of fold.
        networks: as `look_at` tells of the finalists.
        n_members: how many members of equal weight it has, or would have: see `effective`.
        n_folds: how many networks a member has.
    """
    gain = networks.rise * networks.missing(n_members=n_members, n_folds=n_folds)
    return Expected(chosen, min(gain, 1 - chosen), n_folds)


def effective(weights: Sequence[float]) -> float:
    """How many members of equal weight average as well: 1 / sum of squared shares.

    Source: Kish 1965, "Survey Sampling", section 11.7.
    """
    shares = np.asarray(weights, dtype=np.float64) / np.sum(weights)
    return float(1 / np.sum(shares**2))


def look_at(
    members: Sequence[Proba],
    labels: Labels,
    *,
    again: Sequence[Proba],
    at: np.ndarray,
    n_seeds: int,
    seed: int,
) -> Networks:
    """How the networks of the finalists differ.

    Args:
        members: what each said out of fold, (n, n_classes).
        labels: (n,).
        again: what the trial of each said, (n_valid, n_classes).
        at: (n_valid,) the rows of `members` that these are about.
        n_seeds: how many networks a member's out-of-fold rows are the mean of.
        seed: of the subsets that are looked at.
    """
    return Networks(
        rise(members, labels, seed=seed),
        cooling(members, labels, seed=seed),
        seed_share([one[at] for one in members], again, n_seeds=n_seeds),
    )


def rise(members: Sequence[Proba], labels: Labels, *, seed: int) -> float:
    """By how much the accuracy of the mean of endlessly many is above that of one: 0 to 1.

    The accuracy of the mean of m of them, over subsets of the members, is fitted by a straight line
    in 1/m. For a squared error of networks that are alike that is exact; of accuracy it is what is
    seen, and too little where networks differ wildly.
    """
    one, slope = _line(members, lambda p: accuracy(p, labels), most=MOST_SUBSETS, seed=seed)
    return min(1 - one, max(0.0, -slope))


def cooling(members: Sequence[Proba], labels: Labels, *, seed: int) -> float:
    """By how much the logarithm of the temperature falls from one to endlessly many: 0 or more."""

    def log_temperature(proba: Proba) -> float:
        return math.log(temperature(proba, labels))

    return max(0.0, _line(members, log_temperature, most=FEW_SUBSETS, seed=seed)[1])


def _line(
    members: Sequence[Proba], score: Callable[[Proba], float], *, most: int, seed: int
) -> tuple[float, float]:
    """The mean score of one member, and the slope in 1/m of the mean of m of them; 0 for one."""
    n = len(members)
    if n < 2:
        return 0.0, 0.0
    rng = generator(seed, Purpose.SUBSETS)
    sizes = np.unique(np.geomspace(1, n, MOST_SIZES).round().astype(int))
    means = []
    for size in sizes.tolist():
        subsets = _subsets(n, size, rng)[:most]
        each = [score(np.mean([members[i] for i in one], axis=0)) for one in subsets]
        means.append(float(np.mean(each)))
    return means[0], float(np.polyfit(1 / sizes, means, 1)[0])


def seed_share(members: Sequence[Proba], again: Sequence[Proba], *, n_seeds: int) -> float:
    """The part of the variance between members that is there between two networks of one: 0 to 1.

    No label is asked, so that it does not matter what the members were chosen for. What says the
    same twice to the bit, as a baseline, is no second network and is left out; 0 with fewer than
    two others.

    Args:
        members: (n, n_classes) each.
        again: what another network of each says of the same rows.
        n_seeds: how many networks a row of `members` is the mean of; one of `again` is one's.
    """
    pairs = [
        (one, other)
        for one, other in zip(members, again, strict=True)
        if not np.array_equal(one, other)
    ]
    if len(pairs) < 2:
        return 0.0
    within = float(np.mean([_distance(one, other) for one, other in pairs])) / (n_seeds + 1)
    firsts = np.stack([one for one, _ in pairs]).astype(np.float64)
    between = float(np.var(firsts, axis=0, ddof=1).sum(axis=-1).mean())
    return float(min(1.0, within / between)) if between > 0 else 0.0


def _distance(one: Proba, other: Proba) -> float:
    return float(np.mean(np.sum((one.astype(np.float64) - other) ** 2, axis=1)))


def _subsets(n: int, size: int, rng: np.random.Generator) -> Sequence[Sequence[int]]:
    """All subsets of that size of `n` members; where there are more, `MOST_SUBSETS` drawn ones."""
    if math.comb(n, size) <= MOST_SUBSETS:
        every = list(itertools.combinations(range(n), size))
        return [every[i] for i in rng.permutation(len(every))]
    return [rng.choice(n, size, replace=False).tolist() for _ in range(MOST_SUBSETS)]
