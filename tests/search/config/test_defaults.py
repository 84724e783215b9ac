"""The defaults of a sweep file: changing one is a decision, and changes this test."""

from chorale.datasets.config import to_plain_values
from chorale.search.config.schema import BudgetConfig, FinalistsConfig, SweepConfig


def test_defaults_of_the_budget_the_search_and_the_finalists() -> None:
    values = to_plain_values(SweepConfig(dataset={}))
    assert values["finalists"] == {"configs": None, "folds": 5, "seeds": 1}
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
