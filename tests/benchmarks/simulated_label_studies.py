"""Simulated studies of several labels with known truth: networks whose errors are correlated.

A score is the label times the skill of the trial, and errors: those of a track for all networks,
and effects of the configuration, of the fold's training rows, and of the seed, each with a part by
group and a part by track, and a network's own offset of each label. `bench_statistics.py` and tests
in `tests/search` apply Chorale's own functions to these studies.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from simulated_labels import LabelSetting, draw  # type: ignore[import-not-found]

from chorale.lightning_models.metrics import expected_calibration_error, log_loss
from chorale.lightning_models.multi_label_metrics import mean_average_precision
from chorale.search.statistics.arrays import decisions
from chorale.search.statistics.calibration import (
    calibrate,
    fit_temperature,
    validated_temperature,
)
from chorale.search.statistics.expected_map import expected_map, map_of_sets
from chorale.search.statistics.fold_averaging import estimate_fold_averaging
from chorale.search.statistics.inner_folds import inner_folds
from chorale.search.statistics.selection import NestedPredictions, choose_kind
from chorale.search.statistics.selection_bias import configuration_selection_bias

Array = np.ndarray

MIN_TEST_GROUPS = 100
TEST_GROUPS_RATIO = 8
"""Test sets are drawn from a pool of so many groups, or so many times those of development tracks.
Their mean mAP is the truth."""

N_ROUNDS = 2
"""How often each group of the pool is in a test set."""


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
        return max(2, int(self.labels.n_groups) // 4)


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
        n_pool = max(MIN_TEST_GROUPS, TEST_GROUPS_RATIO * n_groups)
        every = draw(setting.labels, self._rng, n_groups=n_groups + n_pool)
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
        self.trials = [self._network(i, 0, self.fold0) for i in range(setting.n_trials)]
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
            mine = np.flatnonzero(self._fold == fold)
            proba = self._network(number, fold, np.concatenate([mine, self._pool]))
            out_of_fold[mine] = proba[: len(mine)]
            tests.append(proba[len(mine) :])
        return LabelFinalist(self.trials[number], out_of_fold, np.stack(tests))

    def test_set(self, rng: np.random.Generator) -> tuple[Array, Array, Array]:
        """The positions in the pool (n,), labels and groups of one test set."""
        of_pool = self._every.groups[self._pool]
        drawn = rng.choice(np.unique(of_pool), self.setting.n_test_groups, replace=False)
        rows = np.flatnonzero(np.isin(of_pool, drawn))
        return rows, self._every.labels[self._pool[rows]], of_pool[rows]

    def luck(self, n_tracks: int, *, n_networks: int = 4) -> float:
        """How much too high the mAP of networks that nothing was chosen by is on these tracks.

        It is 0 on average, so that estimates of bias are less noisy without it.
        """
        found, every = [], np.arange(len(self._every.groups))
        for i in range(n_networks):
            proba = self._network(-1 - i, 0, every)
            here = map_of_sets(
                proba[: len(self.labels)], self.labels, self.groups, n_tracks, seed=0
            )
            found.append(here - self.true_map(proba[self._pool]))
        return float(np.mean(found))

    def pool_labels(self) -> Array:
        """The labels of the pool, (n_pool, n_labels)."""
        return np.asarray(self._every.labels[self._pool])

    def true_map(self, proba: Array) -> float:
        """The mean mAP of probabilities (n_pool, n_labels) over test sets that cover the pool."""
        of_pool, rng, found = self._every.groups[self._pool], np.random.default_rng(0), []
        n = self.setting.n_test_groups
        for _ in range(N_ROUNDS):
            order = rng.permutation(np.unique(of_pool))
            for start in range(0, len(order) - n + 1, n):
                rows = np.isin(of_pool, order[start : start + n])
                found.append(mean_average_precision(proba[rows], self.pool_labels()[rows]))
        return float(np.mean(found))

    def _network(self, number: int, fold: int, rows: Array) -> Array:
        """A network's probabilities of some tracks."""
        one = self.setting
        if number not in self._configuration:
            self._configuration[number] = self._noise(one.configuration)
        skill, labels = self.skills[number], self._every.labels[rows]
        score = skill * (labels - 0.5) + (self._hard + self._configuration[number])[rows]
        score += self._folds[fold][rows] + np.sqrt(one.seed) * self._every.noise(self._rng, rows)
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
    return LabelStudySetting(
        LabelSetting(n_groups, n_labels, 0.2, skill), n_folds=3 if n_groups < 10 else 5
    )


def map_errors(
    setting: LabelStudySetting, *, n_members: Sequence[int], seed: int
) -> dict[int, dict[str, float]]:
    """Of one study, by the number of members of the vote: errors of estimates of its test mAP.

    `out of fold` and `expected`, with the truth subtracted; `bias` is the latter without luck,
    `gain` the error of the gain, `mAP` the truth.
    """
    study = SimulatedLabelStudy(setting, seed=seed)
    every = [study.finalist(number) for number in study.ranked()[: max(6, *n_members)]]
    bias = configuration_selection_bias(
        [one.out_of_fold for one in every],
        [one.validation for one in every],
        study.labels,
        at=study.fold0,
    )
    rows, _, _ = study.test_set(np.random.default_rng(seed))
    luck, found = study.luck(len(rows)), {}
    for n in n_members:
        out_of_fold, pool = vote(every[:n])
        truth = study.true_map(pool.mean(axis=0))
        one = expected_map(
            out_of_fold,
            study.labels,
            study.groups,
            pool[:, rows],
            configuration_bias=bias,
            kind_bias=0.0,
            seed=seed,
        )
        of_one = float(np.mean([study.true_map(proba) for proba in pool[:2]]))
        found[n] = {
            "out of fold": one.out_of_fold - truth,
            "expected": one.mAP - truth,
            "bias": one.mAP - truth - luck,
            "gain": one.gain - (truth - of_one),
            "mAP": truth,
        }
    return found


KINDS = {"soft_vote": (0, 1, 2, 3, 4, 5), "greedy": (0,), "weighted_vote": (0, 1, 2),
         "stacking": (3, 4, 5), "fusion": (1, 4)}  # fmt: skip
"""Kinds of ensembles, as votes of some of six finalists."""


def kind_biases(setting: LabelStudySetting, *, seed: int) -> dict[str, float]:
    """Of one study, `estimate` and `truth` of the selection bias of the kind of ensemble.

    By how much more the chosen kind leads the mean of all kinds on the rows that chose it than on
    the pool, where the networks of each fold are scored as out-of-fold rows are.
    """
    study = SimulatedLabelStudy(setting, seed=seed)
    every = [study.finalist(number) for number in study.ranked()[:6]]
    votes = {kind: vote([every[i] for i in members]) for kind, members in KINDS.items()}
    choice = choose_kind(
        {kind: NestedPredictions(one, one) for kind, (one, _) in votes.items()},
        study.labels,
        study.groups,
        seed=seed,
    )
    n_tracks = len(study.test_set(np.random.default_rng(seed))[0])
    here = {
        kind: map_of_sets(one, study.labels, study.groups, n_tracks, seed=0)
        for kind, (one, _) in votes.items()
    }
    there = {
        kind: float(np.mean([study.true_map(one) for one in pool]))
        for kind, (_, pool) in votes.items()
    }
    leads = (one[choice.kind] - float(np.mean(list(one.values()))) for one in (here, there))
    lead_here, lead_there = leads
    return {"estimate": choice.bias, "truth": lead_here - lead_there}


def temperature_gains(
    setting: LabelStudySetting, *, n_members: Sequence[int], seed: int
) -> dict[int, dict[str, float]]:
    """Of one study, by the number of members: log loss and calibration error on new tracks.

    Each with the ratio of averaging over folds minus that without it: `log_loss`, `ece`.
    """
    study, found = SimulatedLabelStudy(setting, seed=seed), {}
    every = [study.finalist(number) for number in study.ranked()[: max(n_members)]]
    rows, _, _ = study.test_set(np.random.default_rng(seed))
    folds, labels = inner_folds(study.labels, study.groups, seed=0), study.pool_labels()
    for n in n_members:
        out_of_fold, pool = vote(every[:n])
        temperature, _ = validated_temperature(out_of_fold, study.labels, folds)
        by_fold = decisions(pool[:, rows])
        ratio = estimate_fold_averaging(
            by_fold, fit_temperature(out_of_fold, study.labels), by_fold.mean(axis=0)
        ).temperature_ratio
        plain, scaled = (
            calibrate(pool.mean(axis=0), temperature * times, multi_label=True)
            for times in (1.0, ratio)
        )
        found[n] = {
            "log_loss": log_loss(scaled, labels) - log_loss(plain, labels),
            "ece": expected_calibration_error(scaled, labels)
            - expected_calibration_error(plain, labels),
            "ratio": ratio,
        }
    return found
