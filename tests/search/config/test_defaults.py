"""The defaults of a sweep file: changing one is a decision, and changes this test."""

from typing import Any

import pytest

from chorale.datasets.config import to_plain_values
from chorale.search.config.schema import BudgetConfig, FinalistsConfig, SweepConfig


def test_defaults_of_the_budget_the_search_and_the_finalists() -> None:
    values = to_plain_values(SweepConfig(dataset={}))
    assert values["finalists"] == {"configs": None, "folds": 5, "seeds": None}
    assert [FinalistsConfig(seeds=n).n_seeds for n in (None, 3)] == [1, 3]
    assert (FinalistsConfig().n_configs, FinalistsConfig(configs=3).most_configs) == (6, 3)
    assert {key: values["budget"][key] for key in ("trials", "max_epochs", "patience")} == {
        "trials": None,
        "max_epochs": None,
        "patience": None,
    }
    assert BudgetConfig().n_epochs == 60
    assert [BudgetConfig(trials=n).n_trials for n in (None, 3)] == [64, 3]
    assert BudgetConfig(trials=3, minutes=7).n_trials == 3
    limits = ({"minutes": 7}, {"core_hours": 1}, {"gpu_hours": 1})
    assert [BudgetConfig(**one).n_trials for one in limits] == [1_000] * 3  # time is the limit
    assert {key: values["search"][key] for key in ("sampler", "pruner", "objective", "seed")} == {
        "sampler": "tpe",
        "pruner": "successive_halving",
        "objective": "accuracy",
        "seed": 0,
    }


@pytest.mark.parametrize(
    ("seeds", "complete", "used"),
    [
        (None, (2, 0), (0, 2)),
        (None, (), ()),
        (2, (0, 1, 2), (0, 1)),
        (2, (0, 2), ()),
        (1, (0,), (0,)),
    ],
)
def test_a_finalist_has_the_seeds_of_the_sweep_file_or_all_that_are_complete(
    seeds: int | None, complete: tuple[int, ...], used: tuple[int, ...]
) -> None:
    assert FinalistsConfig(seeds=seeds).used_seeds(complete) == used


@pytest.mark.parametrize(
    ("budget", "seeds", "more"),
    [
        ({"minutes": 5}, None, True),
        ({"minutes": 5}, 1, False),
        ({"minutes": 5, "core_hours": 1}, None, False),
        ({"minutes": 5, "gpu_hours": 1}, None, False),
        ({}, None, False),
    ],
)
def test_further_seeds_are_trained_where_minutes_alone_are_the_limit(
    budget: dict[str, Any], seeds: int | None, more: bool
) -> None:
    sweep = SweepConfig(
        dataset={}, budget=BudgetConfig(**budget), finalists=FinalistsConfig(seeds=seeds)
    )
    assert sweep.seeds_by_time is more
