"""The choice of the headline in simulated studies: a small, seeded part of `bench_choice`."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chorale.search.evaluation.member_names import BEST_BASELINE

BENCH = Path(__file__).parents[1] / "benchmarks" / "bench_choice.py"


@pytest.fixture(scope="module")
def bench() -> Any:
    spec = importlib.util.spec_from_file_location("bench_choice", BENCH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_where_baselines_are_far_better_no_answer_is_known_to_be_the_worse_one(bench: Any) -> None:
    setting = bench.Setting(20, edge=1.2)
    for one in bench.outcomes(setting, n=5, seed=0):
        trials_alone = one.worth["best_single"]
        assert one.worth[BEST_BASELINE] > trials_alone + 0.05, "the setting is what it says"
        # no answer lies more than a standard error below a baseline on the rows it was chosen by
        behind = one.figures[BEST_BASELINE]["accuracy"] - one.figures[one.kind]["accuracy"]
        assert behind <= one.figures[BEST_BASELINE]["gain_se"] + 1 / one.figures[one.kind]["n"]
        assert one.regret(one.kind) < 0.05


def test_where_there_are_many_groups_the_choice_costs_hardly_anything(bench: Any) -> None:
    found = list(bench.outcomes(bench.Setting(60, edge=0.7), n=5, seed=0))
    below = np.array([one.regret(one.kind) for one in found])
    assert below.mean() < 0.01
    assert below.max() < 0.03
