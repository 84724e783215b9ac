"""The defaults of a sweep file: changing one is a decision, and changes this test."""

from chorale.datasets.config import to_plain_values
from chorale.search.config.schema import BudgetConfig, FinalistsConfig, SweepConfig


def test_defaults_of_the_budget_the_search_and_the_finalists() -> None:
    values = to_plain_values(SweepConfig(dataset={}))
    assert values["finalists"] == {"configs": None, "folds": 5, "seeds": 1}
    assert (FinalistsConfig().n_configs, FinalistsConfig(configs=3).most_configs) == (6, 3)
    assert {key: values["budget"][key] for key in ("trials", "max_epochs", "patience")} == {
        "trials": 64,
        "max_epochs": None,
        "patience": None,
    }
    assert BudgetConfig().n_epochs == 60
    assert {key: values["search"][key] for key in ("sampler", "pruner", "objective", "seed")} == {
        "sampler": "tpe",
        "pruner": "successive_halving",
        "objective": "accuracy",
        "seed": 0,
    }
