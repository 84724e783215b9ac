"""The expected test accuracy: what out-of-fold rows say of the test set, before it is opened.

The out-of-fold accuracy of M members, each trained on K folds, is wrong in three ways.

Too low by the *gain*: an out-of-fold row is judged by one network of each member, the one that did
not train on it, a test row by the mean of all of them, one for each fold. How accuracy rises with
the number of networks is seen out of fold, over subsets of the members. But members also differ in
their configuration, and networks of one configuration do not: of the rise only the part counts that
comes with another seed. That part is seen on the search fold, where each member's trial is a second
network of it.

Too high by the *luck*: the configurations were chosen for what their trials said of the search
fold. By how much the trials are better there than the finalists, their networks of other seeds, is
the luck of the chosen seeds, which the finalists do not have. The luck of the configurations, which
they do have, is to it as the variance between configurations is to that between seeds, both of
being right: over track and network.

Too high by the *luck of the kind*, as the ensemble was chosen by these very rows: by how much,
`search.selection` tells.

Assumptions: accuracy falls by the power `CURVE` of 1 / (number of networks); another fold changes a
network about as much as another seed; `COMMON` of that is common to all members, as they lack the
same tracks, so that a vote does not average it away out of fold; what was chosen by is the sum of a
configuration's part and a seed's, of which a high sum has both in proportion to their variances.
Where the parts cannot be seen (one finalist in all, or trials that were not kept), nothing is added
or taken away. `tests/benchmarks/bench_statistics.py` holds all this against simulated truths.

Source: Krogh and Vedelsby 1995, "Neural Network Ensembles, Cross Validation, and Active Learning"
(the error of a mean is the mean error less its members' ambiguity); Cawley and Talbot 2010, "On
Over-fitting in Model Selection and Subsequent Selection Bias in Performance Evaluation",
https://jmlr.org/papers/v11/cawley10a.html (the luck).
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

COMMON = 0.1
"""Out of fold all members were trained on the same rows, so this cannot be seen there: with `CURVE`
what comes nearest in `tests/benchmarks/simulated_studies.py`."""

CURVE = 0.8
"""With 1 the first networks would bring too much and the last too little, with 0.7 the reverse."""

MOST_LUCKY = 4.0
"""Configurations differ at most by so many times the variance of seeds, where that is seen on few
tracks."""

MOST_SIZES, MOST_SUBSETS = 12, 40
"""So many sizes of subsets are looked at, and so many subsets of a size."""

FEW_SUBSETS = 6
"""So many subsets of a size have their temperature fitted, which takes longer."""


@dataclass(frozen=True)
class Expected:
    """The accuracy `out_of_fold`, what the mean over `n_folds` networks brings, what luck takes.

    `luck` is that of the configurations, `luck_of_kind` that of the ensemble.
    """

    out_of_fold: float
    gain: float
    luck: float
    luck_of_kind: float
    n_folds: int

    @property
    def accuracy(self) -> float:
        """What the test set is expected to say."""
        return self.out_of_fold + self.gain - self.luck - self.luck_of_kind

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"accuracy": self.accuracy, **asdict(self)}


@dataclass(frozen=True)
class Networks:
    """What is known of how the finalists' networks differ.

    `rise` is by how much the accuracy of the mean of endlessly many is above that of one, `cooling`
    by how much the logarithm of the temperature that it needs is below: a mean is the more timid
    the more it is of. `share` is the part of both that comes with another seed of the same
    configuration, 0 to 1. `luck` is by how much the out-of-fold accuracy of a network is too high.
    """

    rise: float
    cooling: float
    share: float
    luck: float

    def missing(self, *, n_members: float, n_folds: int) -> float:
        """The part of `rise` and `cooling` that a test row has and an out-of-fold row has not."""
        common = (1 - COMMON) / n_members + COMMON  # of one network's own errors, in such a vote
        before = 1 / n_members
        after = max(0.0, before - self.share * (1 - 1 / n_folds) * common)
        return float(before**CURVE - after**CURVE)

    def cooler(self, *, n_members: float, n_folds: int) -> float:
        """What the temperature from out-of-fold rows is multiplied by for test rows: 0 to 1."""
        return math.exp(-self.cooling * self.missing(n_members=n_members, n_folds=n_folds))


def expected_accuracy(
    chosen: float, networks: Networks, *, n_members: float, n_folds: int, luck_of_kind: float = 0.0
) -> Expected:
    """What an ensemble is expected to reach on unseen groups.

    Args:
        chosen: its accuracy out of fold.
        networks: as `look_at` tells of the finalists.
        n_members: how many members of equal weight it has, or would have: see `effective`.
        n_folds: how many networks a member has.
        luck_of_kind: by how much `chosen` is too high, as it chose the ensemble.
    """
    gain = networks.rise * networks.missing(n_members=n_members, n_folds=n_folds)
    of_kind = min(luck_of_kind, chosen)
    luck = min(networks.luck, chosen - of_kind)
    return Expected(chosen, min(gain, 1 - chosen + luck + of_kind), luck, of_kind, n_folds)


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
    there = [one[at] for one in members]
    higher = rise(members, labels, seed=seed)
    share = seed_share(there, again, n_seeds=n_seeds)
    of_seeds = higher * (1 - (1 - share * (1 - 1 / n_seeds)) ** CURVE)
    luck = luck_of_choice(there, again, labels[at], of_seeds=of_seeds)
    return Networks(
        higher, cooling(members, labels, seed=seed), share, luck * len(at) / len(labels)
    )


def rise(members: Sequence[Proba], labels: Labels, *, seed: int) -> float:
    """By how much the accuracy of the mean of endlessly many is above that of one: 0 to 1.

    The accuracy of the mean of m of them, over subsets of the members, is fitted by a straight line
    in 1/m to the power `CURVE`. For the squared error of networks that are alike the power is 1; of
    accuracy this is what is seen, and too little where networks differ wildly.
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
    """The mean score of one member, and the slope in `CURVE` of 1/m of the mean of m; 0 for one."""
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
    return means[0], float(np.polyfit(sizes**-CURVE, means, 1)[0])


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


def luck_of_choice(
    members: Sequence[Proba], again: Sequence[Proba], labels: Labels, *, of_seeds: float = 0.0
) -> float:
    """By how much the chosen configurations are too good on the search fold: 0 or more.

    0 where that cannot be seen: with fewer than two that say something else the second time.

    Args:
        members: what each finalist says of the search fold, (n_valid, n_classes).
        again: what their trials said, by which they were chosen.
        labels: (n_valid,).
        of_seeds: by how much more accurate the mean of a finalist's networks is than one of them.
    """
    pairs = [
        (_right(one, labels), _right(other, labels))
        for one, other in zip(members, again, strict=True)
        if not np.array_equal(one, other)
    ]
    if len(pairs) < 2:
        return 0.0
    now, then = (np.stack(side) for side in zip(*pairs, strict=True))
    of_seed = max(0.0, float(np.mean(then - now)) + of_seeds)
    between = float(np.var(now, axis=0, ddof=1).mean())
    within = float(np.mean((then - now) ** 2)) / 2
    if within == 0:  # then nobody was lucky
        return 0.0
    return of_seed * min(MOST_LUCKY, max(0.0, between / within - 1))


def _right(proba: Proba, labels: Labels) -> np.ndarray:
    return np.asarray(proba.argmax(axis=1) == labels, dtype=np.float64)


def _distance(one: Proba, other: Proba) -> float:
    return float(np.mean(np.sum((one.astype(np.float64) - other) ** 2, axis=1)))


def _subsets(n: int, size: int, rng: np.random.Generator) -> Sequence[Sequence[int]]:
    """All subsets of that size of `n` members; where there are more, `MOST_SUBSETS` drawn ones."""
    if math.comb(n, size) <= MOST_SUBSETS:
        every = list(itertools.combinations(range(n), size))
        return [every[i] for i in rng.permutation(len(every))]
    return [rng.choice(n, size, replace=False).tolist() for _ in range(MOST_SUBSETS)]
