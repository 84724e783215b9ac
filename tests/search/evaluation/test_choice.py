"""The chosen ensemble in simulated studies: a small, seeded part of `bench_ensemble_choice`."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from chorale.datasets.splitting.split import Split
from chorale.search.baselines.fitted_baselines import Baseline
from chorale.search.evaluation.candidates import MAX_BEHIND, admit_members
from chorale.search.evaluation.member_names import BEST_BASELINE
from chorale.search.evaluation.members import Member
from chorale.search.ledger.ground_truth import GroundTruth


@pytest.fixture(scope="module")
def bench(load_benchmark: Callable[[str], ModuleType]) -> Any:
    return load_benchmark("bench_ensemble_choice")


def test_members_far_behind_the_best_one_are_left_out_but_never_the_best_trial() -> None:
    n = 40
    split = Split((), {f"t{i}": i % 2 for i in range(n)}, "", 2, 0)
    truth = GroundTruth(
        ("a", "b"), split, dict.fromkeys(split.fold_of, 0), {t: t for t in split.fold_of}
    )

    def proba(n_right: int) -> np.ndarray:
        return np.eye(2, dtype=np.float32)[[int(i >= n_right) for i in range(n)]]

    def trial(number: int, n_right: int) -> Member:
        return Member(number, proba(n_right)[::2], proba(n_right), np.zeros((0, 2), np.float32))

    def baseline(name: str, n_right: int) -> Baseline:
        return Baseline(name, {}, proba(n_right), np.zeros((0, 2), np.float32))

    def names(trials: list[Member], baselines: list[Baseline]) -> list[int | str]:
        return [one.name for one in admit_members(trials, baselines, truth)]

    near, far = (n - round(share * n) for share in (MAX_BEHIND, 2 * MAX_BEHIND))
    trials = [trial(3, n), trial(4, near), trial(5, far)]
    baselines = [baseline("svm", near), baseline("knn", far)]
    assert names(trials, baselines) == [3, 4, "svm"]
    assert names(trials, []) == [3, 4]
    assert names([trial(5, far), trial(6, 0)], [baseline("svm", n)]) == [5, "svm"]
    assert names([], baselines) == ["svm", "knn"]
    assert names([], []) == []


def test_where_baselines_are_far_better_the_chosen_ensemble_is_not_worse(bench: Any) -> None:
    setting = bench.Setting(20, edge=1.2)
    for one in bench.outcomes(setting, n=5, seed=0):
        trials_alone = one.accuracy["best_single"]
        assert one.accuracy[BEST_BASELINE] > trials_alone + 0.05, "baselines are better"
        # on the rows it was chosen by, it is at most a standard error worse than the best baseline
        behind = one.figures[BEST_BASELINE]["accuracy"] - one.figures[one.kind]["accuracy"]
        assert behind <= one.figures[BEST_BASELINE]["gain_se"] + 1 / one.figures[one.kind]["n"]
        assert one.regret(one.kind) < 0.05


def test_with_many_groups_the_choice_is_close_to_optimal(bench: Any) -> None:
    found = list(bench.outcomes(bench.Setting(60, edge=0.7), n=5, seed=0))
    below = np.array([one.regret(one.kind) for one in found])
    assert below.mean() < 0.01
    assert below.max() < 0.03
