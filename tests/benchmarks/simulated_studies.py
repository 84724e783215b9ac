"""Simulated studies: networks whose errors hang together by track, group, configuration and fold.

The logit of a class is the signal, what makes the track hard for all networks, what this
configuration makes of it, what the fold's training rows and the seed change. Each part has a share
by group and one by track. `bench_statistics.py` and tests in `tests/search` look at these studies
through the product's own functions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Spread = tuple[float, float]
"""Standard deviations of what differs by group and of what differs by track."""


@dataclass(frozen=True)
class World:
    """How hard the task is, and what makes networks differ.

    The default reproduces what real sweeps showed: the finalists of fold 0, were they the search's
    trials again, are 4.6 points too good there for a member and 3.1 for a vote of six.
    """

    n_classes: int = 8
    n_groups: int = 20
    n_per_group: int = 10
    n_folds: int = 5
    n_trials: int = 30
    n_test_groups: int = 120
    signal: float = 1.9
    trials_differ: float = 0.15
    """standard deviation of the trials' signals"""
    hard: Spread = (0.5, 0.9)
    configuration: Spread = (0.25, 0.45)
    fold: Spread = (0.1, 0.2)
    seed: Spread = (0.2, 0.55)
    scale: float = 1.6
    """of the logits: above what is calibrated, networks are too sure"""


WORLDS = {
    "typical": World(),
    "own errors": World(configuration=(0.45, 0.7), seed=(0.2, 0.5)),
    "folds alike": World(fold=(0.0, 0.0)),
    "2 classes": World(n_classes=2, signal=1.2),
    "30 classes": World(n_classes=30, signal=2.6, n_groups=30),
    "accuracy 0.98": World(n_classes=10, signal=4.0),
    "folds differ": World(fold=(0.4, 0.6)),
}


@dataclass(frozen=True)
class Finalist:
    """A configuration on every fold: out of fold (n, n_classes), test (n_folds, n_test, n_classes).

    `validation` (n_valid, n_classes) is what its trial said of fold 0, by another seed.
    """

    number: int
    validation: Floats
    out_of_fold: Floats
    test: Floats


class Simulated:
    """One study: trials on fold 0 are made at once, finalists when they are asked for."""

    def __init__(self, world: World, *, seed: int) -> None:
        self.world, self._rng = world, np.random.default_rng(seed)
        n_groups = world.n_groups + world.n_test_groups
        self._group_of = np.repeat(np.arange(n_groups), world.n_per_group)
        n, n_development = len(self._group_of), world.n_groups * world.n_per_group
        self._label_of = self._rng.integers(world.n_classes, size=n)
        self._test = np.arange(n_development, n)
        self.labels, self.test_labels = np.split(self._label_of, [n_development])
        self.groups, self.test_groups = np.split(self._group_of, [n_development])
        self.fold = self.groups % world.n_folds
        self.fold0 = np.flatnonzero(self.fold == 0)
        every = np.arange(n)
        self._onehot = np.eye(world.n_classes, dtype=np.float32)[self._label_of]
        self._hard = self._noise(world.hard, every)
        self._folds = [self._noise(world.fold, every) for _ in range(world.n_folds)]
        spread = world.trials_differ / world.signal * 1.9
        self.signals = world.signal * (
            1 + spread * self._rng.standard_normal(world.n_trials, dtype=np.float32)
        )
        self._own: dict[int, Floats] = {}
        self.trials = [self._network(i, 0, self.fold0) for i in range(world.n_trials)]
        self.validation = np.array([right(one, self.labels[self.fold0]) for one in self.trials])

    def ranked(self) -> list[int]:
        """The trials by their accuracy on fold 0, best first."""
        return [int(i) for i in np.argsort(-self.validation, kind="stable")]

    def finalist(self, number: int, *, same_seed: bool = False) -> Finalist:
        """Trains a trial's configuration on every fold; `same_seed` gives the trial again there."""
        out_of_fold = np.zeros((len(self.labels), self.world.n_classes), np.float32)
        tests = []
        for fold in range(self.world.n_folds):
            mine = np.flatnonzero(self.fold == fold)
            said = self._network(number, fold, np.concatenate([mine, self._test]))
            out_of_fold[mine] = said[: len(mine)]
            tests.append(said[len(mine) :])
        if same_seed:
            out_of_fold[self.fold0] = self.trials[number]
        return Finalist(number, self.trials[number], out_of_fold, np.stack(tests))

    def again(self, number: int, fold: int) -> float:
        """The accuracy of one more network of a trial's configuration on a fold."""
        rows = np.flatnonzero(self.fold == fold)
        return right(self._network(number, fold, rows), self.labels[rows])

    def _network(self, number: int, fold: int, rows: Ints) -> Floats:
        if number not in self._own:
            every = np.arange(len(self._group_of))
            self._own[number] = self._noise(self.world.configuration, every)
        logits = self.signals[number] * self._onehot[rows] + self._hard[rows]
        logits += self._own[number][rows] + self._folds[fold][rows]
        logits += self._noise(self.world.seed, rows)
        logits *= self.world.scale
        proba = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(proba / proba.sum(axis=1, keepdims=True))

    def _noise(self, spread: Spread, rows: Ints) -> Floats:
        """What differs by group and by track: (n_rows, n_classes)."""
        by_group = self._rng.standard_normal(
            (self._group_of[-1] + 1, self.world.n_classes), dtype=np.float32
        )
        by_track = self._rng.standard_normal((len(rows), self.world.n_classes), dtype=np.float32)
        return np.asarray(spread[0] * by_group[self._group_of[rows]] + spread[1] * by_track)


def right(proba: Floats, labels: Ints) -> float:
    """Accuracy."""
    return float(np.mean(proba.argmax(axis=1) == labels))


def accuracy_of_all(finalists: Sequence[Finalist], labels: Ints) -> float:
    """Of the mean over all networks of all members: the truth that a study is after."""
    return right(np.mean([one.test.mean(axis=0) for one in finalists], axis=0), labels)


def vote(finalists: Sequence[Finalist]) -> Floats:
    """Out of fold."""
    return np.asarray(np.mean([one.out_of_fold for one in finalists], axis=0))
