"""Simulated studies of several labels with known truth: networks whose errors are correlated.

A score is the label times the skill of the trial, and errors: those of a track for all networks,
and effects of the configuration, of the fold's training rows, and of the seed, each with a part by
group and a part by track, and a network's own offset of each label. `bench_statistics.py` and tests
in `tests/search` apply Chorale's own functions to these studies.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from simulated_labels import LabelSetting, draw  # type: ignore[import-not-found]

from chorale.lightning_models.multi_label_metrics import mean_average_precision

Array = np.ndarray

N_TEST_GROUPS = 150
"""Groups from which test sets are drawn; their mean mAP is the truth."""


@dataclass(frozen=True)
class LabelStudySetting:
    """Development tracks of `n_groups` groups, and test sets of a quarter as many.

    `hard`, `configuration`, `fold` and `seed` are the shares of the variance of a score's errors,
    of which the part `labels.icc` is by group. `offset` is the standard deviation of a network's
    offset of each label, `trials_differ` the relative one of the trials' skills.
    """

    labels: LabelSetting
    n_folds: int = 5
    n_trials: int = 30
    hard: float = 0.5
    configuration: float = 0.15
    fold: float = 0.1
    seed: float = 0.25
    offset: float = 0.3
    trials_differ: float = 0.08
    scale: float = 1.5
    """of the logits: networks are overconfident where it exceeds 1"""

    @property
    def n_test_groups(self) -> int:
        """Groups of a test set."""
        return max(2, self.labels.n_groups // 4)


@dataclass(frozen=True)
class LabelFinalist:
    """A cross-validated configuration, and its trial's predictions for fold 0 with another seed.

    `validation` (n_valid, n_labels), `out_of_fold` (n, n_labels), `test` (n_folds, n_pool,
    n_labels).
    """

    validation: Array
    out_of_fold: Array
    test: Array


class SimulatedLabelStudy:
    """One study: trials on fold 0 are simulated at once, finalists on demand."""

    def __init__(self, setting: LabelStudySetting, *, seed: int) -> None:
        self.setting, self._rng = setting, np.random.default_rng(seed)
        n_groups = setting.labels.n_groups
        every = draw(setting.labels, self._rng, n_groups=n_groups + N_TEST_GROUPS)
        self._every = every
        known = every.groups < n_groups
        self._pool = np.flatnonzero(~known)
        self.labels, self.groups = every.labels[known], every.groups[known]
        self._fold = np.random.default_rng(seed).permutation(n_groups)[self.groups] % (
            setting.n_folds
        )
        self.fold0 = np.flatnonzero(self._fold == 0)
        self._hard = self._noise(setting.hard)
        self._folds = [self._noise(setting.fold) for _ in range(setting.n_folds)]
        self._configuration: dict[int, Array] = {}
        self.skills = setting.labels.skill * (
            1 + setting.trials_differ * self._rng.standard_normal(setting.n_trials)
        )
        self.trials = [self._network(i, 0)[self.fold0] for i in range(setting.n_trials)]
        self.validation = np.array(
            [mean_average_precision(one, self.labels[self.fold0]) for one in self.trials]
        )

    def ranked(self) -> list[int]:
        """The trials by their mAP on fold 0, best first."""
        return [int(i) for i in np.argsort(-self.validation, kind="stable")]

    def finalist(self, number: int) -> LabelFinalist:
        """A trial's configuration on all folds."""
        out_of_fold, tests = np.zeros(self.labels.shape), []
        for fold in range(self.setting.n_folds):
            proba = self._network(number, fold)
            mine = np.flatnonzero(self._fold == fold)
            out_of_fold[mine] = proba[mine]
            tests.append(proba[self._pool])
        return LabelFinalist(self.trials[number], out_of_fold, np.stack(tests))

    def test_set(self, rng: np.random.Generator) -> tuple[Array, Array, Array]:
        """The positions in the pool (n,), labels and groups of one test set."""
        of_pool = self._every.groups[self._pool]
        drawn = rng.choice(np.unique(of_pool), self.setting.n_test_groups, replace=False)
        rows = np.flatnonzero(np.isin(of_pool, drawn))
        return rows, self._every.labels[self._pool[rows]], of_pool[rows]

    def true_map(self, proba: Array, *, n_sets: int = 60) -> float:
        """The mean mAP of probabilities (n_pool, n_labels) over test sets."""
        rng, found = np.random.default_rng(0), []
        for _ in range(n_sets):
            rows, labels, _ = self.test_set(rng)
            found.append(mean_average_precision(proba[rows], labels))
        return float(np.mean(found))

    def _network(self, number: int, fold: int) -> Array:
        """A network's probabilities of all tracks."""
        one = self.setting
        if number not in self._configuration:
            self._configuration[number] = self._noise(one.configuration)
        skill, labels = self.skills[number], self._every.labels
        score = skill * (labels - 0.5) + self._hard + self._configuration[number]
        score += self._folds[fold] + self._noise(one.seed)
        score += one.offset * self._rng.standard_normal(labels.shape[1])
        frequencies = one.labels.frequencies
        logits = skill * score + np.log(frequencies / (1 - frequencies))
        return np.asarray(1 / (1 + np.exp(-one.scale * logits)))

    def _noise(self, share: float) -> Array:
        """Errors with this share of the variance, (n_tracks, n_labels)."""
        return np.asarray(np.sqrt(share) * self._every.noise(self._rng))


def vote(finalists: Sequence[LabelFinalist]) -> tuple[Array, Array]:
    """The soft vote's out-of-fold probabilities (n, n_labels), and those of the pool by fold."""
    return (
        np.asarray(np.mean([one.out_of_fold for one in finalists], axis=0)),
        np.asarray(np.mean([one.test for one in finalists], axis=0)),
    )


def studies_of(n_groups: int, n_labels: int, skill: float) -> LabelStudySetting:
    """The setting of a cell: three folds where there are few groups."""
    return replace(
        LabelStudySetting(LabelSetting(n_groups, n_labels, 0.2, skill)),
        n_folds=3 if n_groups < 10 else 5,
    )
