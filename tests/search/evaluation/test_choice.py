"""The chosen ensemble in simulated studies: a small, seeded part of `bench_ensemble_choice`."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from chorale.search.evaluation.member_names import BEST_BASELINE


@pytest.fixture(scope="module")
def bench(load_benchmark: Callable[[str], ModuleType]) -> Any:
    return load_benchmark("bench_ensemble_choice")


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
