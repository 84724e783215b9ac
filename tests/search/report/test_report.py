"""The headline sentence of the console, the page and the model card."""

from typing import Any

import pytest

from chorale.datasets.splitting.grouping import UNGROUPED_TEXT
from chorale.search.report.report import headline_sentence


def report(**changes: Any) -> dict[str, Any]:
    """The parts of a report that the sentence reads."""
    test = {"accuracy": 0.912, "ci95": [0.841, 0.957], "n": 80, "n_groups": 20, "few_groups": False}
    ensemble = {
        "kind": "fusion",
        "members": [19, 17, 22],
        "validation": {"accuracy": 0.833},
        "test": test,
    }
    return {
        "ensemble": ensemble,
        "best_single": {"members": [17], "test": {"accuracy": 0.95}},
        "baselines": {"svm": {"test": {"accuracy": 0.7}}, "knn": {"test": {"accuracy": 0.5}}},
        "expected": {"accuracy": 0.797},
        "test_looks": 1,
        **changes,
    }


def test_the_headline_gives_test_accuracy_interval_rivals_and_expectations() -> None:
    assert headline_sentence(report()) == (
        "Test accuracy 91.2 % (95 % CI 84.1 to 95.7) on 80 held-out tracks, fusion ensemble of 3; "
        "best single trial 95.0 %, best baseline (svm) 70.0 %. "
        "Validation accuracy 83.3 %, expected test accuracy 79.7 %. "
        "The test set has been evaluated once."
    )


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"baselines": {}}, "best single trial 95.0 %. Validation"),
        ({"expected": None}, "Validation accuracy 83.3 %. The test set"),
        ({"test_looks": 3}, "The test set has been evaluated 3 times."),
        (
            {"split": {"protocol": f"test by {UNGROUPED_TEXT}"}},
            "tracks of one artist may be on both sides of the split, so every accuracy may be too "
            "high. Test accuracy 91.2 %",
        ),
    ],
)
def test_the_headline_without_a_part_or_with_a_caveat(changes: dict[str, Any], text: str) -> None:
    assert text in headline_sentence(report(**changes))


@pytest.mark.parametrize(("n_groups", "groups"), [(1, "1 group"), (4, "4 groups")])
def test_the_headline_warns_of_few_groups(n_groups: int, groups: str) -> None:
    found = report()
    found["ensemble"]["test"] |= {"few_groups": True, "n_groups": n_groups}
    text = f"The test set has only {groups}, so the interval is wide."
    assert headline_sentence(found).endswith(text)
