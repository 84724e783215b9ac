"""Simulated studies with known truth: networks with errors correlated by track, group and config.

A class's logit is the sum of the signal and of noise: the difficulty of the track for all networks,
and effects of the configuration, of the fold's training rows, and of the seed. Each noise has a
part by group and a part by track. `bench_statistics.py` and tests in `tests/search` apply Chorale's
own functions to these studies.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Spread = tuple[float, float]
"""Standard deviations of a noise's part by group and of its part by track."""


@dataclass(frozen=True)
class StudySetting:
    """The difficulty of the task, and the noise by which networks differ.

    The default reproduces real sweeps: on fold 0, the accuracy of finalists that repeat the
    search's trials is 4.6 percentage points too high for a member and 3.1 for a vote of six.
    """

    n_classes: int = 8
    n_groups: int = 20
    n_per_group: int = 10
    n_folds: int = 5
    n_trials: int = 30
    n_test_groups: int = 120
    signal: float = 1.9
    trials_differ: float = 0.15
    """relative standard deviation of the trials' signals"""
    hard: Spread = (0.5, 0.9)
    configuration: Spread = (0.25, 0.45)
    fold: Spread = (0.1, 0.2)
    seed: Spread = (0.2, 0.55)
    scale: float = 1.6
    """scale of the logits; networks are overconfident where it exceeds the calibrated one"""


SETTINGS = {
    "typical": StudySetting(),
    "configuration errors": StudySetting(configuration=(0.45, 0.7), seed=(0.2, 0.5)),
    "no fold effect": StudySetting(fold=(0.0, 0.0)),
    "2 classes": StudySetting(n_classes=2, signal=1.2),
    "30 classes": StudySetting(n_classes=30, signal=2.6, n_groups=30),
    "accuracy 0.98": StudySetting(n_classes=10, signal=4.0),
    "large fold effect": StudySetting(fold=(0.4, 0.6)),
}


@dataclass(frozen=True)
class Finalist:
    """A cross-validated configuration, and its trial's predictions for fold 0 with another seed.

    Shapes: `validation` (n_valid, n_classes), `out_of_fold` (n, n_classes), `test` (n_folds,
        n_test,
    n_classes).
    """

    number: int
    validation: Floats
    out_of_fold: Floats
    test: Floats


class SimulatedStudy:
    """One study: trials on fold 0 are simulated at once, finalists on demand."""

    def __init__(self, setting: StudySetting, *, seed: int) -> None:
        self.setting, self._rng = setting, np.random.default_rng(seed)
        n_groups = setting.n_groups + setting.n_test_groups
        self._group_of = np.repeat(np.arange(n_groups), setting.n_per_group)
        n, n_development = len(self._group_of), setting.n_groups * setting.n_per_group
        self._label_of = self._rng.integers(setting.n_classes, size=n)
        self._test = np.arange(n_development, n)
        self.labels, self.test_labels = np.split(self._label_of, [n_development])
        self.groups, self.test_groups = np.split(self._group_of, [n_development])
        self.fold = self.groups % setting.n_folds
        self.fold0 = np.flatnonzero(self.fold == 0)
        every = np.arange(n)
        self._onehot = np.eye(setting.n_classes, dtype=np.float32)[self._label_of]
        self._hard = self._noise(setting.hard, every)
        self._folds = [self._noise(setting.fold, every) for _ in range(setting.n_folds)]
        spread = setting.trials_differ / setting.signal * 1.9
        self.signals = setting.signal * (
            1 + spread * self._rng.standard_normal(setting.n_trials, dtype=np.float32)
        )
        self._configuration_noise: dict[int, Floats] = {}
        self.trials = [self._network(i, 0, self.fold0) for i in range(setting.n_trials)]
        self.validation = np.array([accuracy(one, self.labels[self.fold0]) for one in self.trials])

    def ranked(self) -> list[int]:
        """The trials by their accuracy on fold 0, best first."""
        return [int(i) for i in np.argsort(-self.validation, kind="stable")]

    def finalist(self, number: int, *, same_seed: bool = False) -> Finalist:
        """A trial's configuration on all folds; with `same_seed`, fold 0 is the trial itself."""
        out_of_fold = np.zeros((len(self.labels), self.setting.n_classes), np.float32)
        tests = []
        for fold in range(self.setting.n_folds):
            mine = np.flatnonzero(self.fold == fold)
            proba = self._network(number, fold, np.concatenate([mine, self._test]))
            out_of_fold[mine] = proba[: len(mine)]
            tests.append(proba[len(mine) :])
        if same_seed:
            out_of_fold[self.fold0] = self.trials[number]
        return Finalist(number, self.trials[number], out_of_fold, np.stack(tests))

    def rerun_accuracy(self, number: int, fold: int) -> float:
        """The accuracy of another network of a trial's configuration on a fold."""
        rows = np.flatnonzero(self.fold == fold)
        return accuracy(self._network(number, fold, rows), self.labels[rows])

    def _network(self, number: int, fold: int, rows: Ints) -> Floats:
        if number not in self._configuration_noise:
            every = np.arange(len(self._group_of))
            self._configuration_noise[number] = self._noise(self.setting.configuration, every)
        logits = self.signals[number] * self._onehot[rows] + self._hard[rows]
        logits += self._configuration_noise[number][rows] + self._folds[fold][rows]
        logits += self._noise(self.setting.seed, rows)
        logits *= self.setting.scale
        proba = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(proba / proba.sum(axis=1, keepdims=True))

    def _noise(self, spread: Spread, rows: Ints) -> Floats:
        """Noise by group and by track: (n_rows, n_classes)."""
        by_group = self._rng.standard_normal(
            (self._group_of[-1] + 1, self.setting.n_classes), dtype=np.float32
        )
        by_track = self._rng.standard_normal((len(rows), self.setting.n_classes), dtype=np.float32)
        return np.asarray(spread[0] * by_group[self._group_of[rows]] + spread[1] * by_track)


def accuracy(proba: Floats, labels: Ints) -> float:
    """Accuracy."""
    return float(np.mean(proba.argmax(axis=1) == labels))


def true_accuracy(finalists: Sequence[Finalist], labels: Ints) -> float:
    """The accuracy of the mean over all networks of all members, which a study estimates."""
    return accuracy(np.mean([one.test.mean(axis=0) for one in finalists], axis=0), labels)


def out_of_fold_vote(finalists: Sequence[Finalist]) -> Floats:
    """The soft vote's out-of-fold probabilities: (n, n_classes)."""
    return np.asarray(np.mean([one.out_of_fold for one in finalists], axis=0))
