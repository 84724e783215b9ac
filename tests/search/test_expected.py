from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from chorale.search import judge
from chorale.search.expected import expected_accuracy

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(400, 4)) + 0.7 * RNG.normal(size=(3, 400, 4))
BY_FOLD = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=-1, keepdims=True)


def test_what_is_expected_is_the_out_of_fold_accuracy_with_its_gain_less_luck() -> None:
    found, averaged = expected_accuracy(0.6, BY_FOLD, luck=0.03, luck_of_kind=0.01)
    assert found.gain == averaged.gain > 0.01
    assert found.accuracy == pytest.approx(0.6 + found.gain - 0.03 - 0.01)
    parts = {"out_of_fold", "gain", "luck", "luck_of_kind"}
    assert found.as_dict().keys() == {"accuracy", *parts, "n_folds"}
    assert found.n_folds == 3


@pytest.mark.parametrize("out_of_fold", [0.0, 0.01, 0.99, 1.0])
def test_luck_is_never_more_than_there_was_and_nothing_passes_one(out_of_fold: float) -> None:
    found, _ = expected_accuracy(out_of_fold, BY_FOLD, luck=0.03, luck_of_kind=0.2)
    assert 0 <= found.accuracy <= 1
    assert found.luck + found.luck_of_kind <= out_of_fold


def test_baselines_have_one_model_for_all_folds_and_gain_nothing() -> None:
    found, averaged = expected_accuracy(0.6, np.repeat(BY_FOLD[:1], 3, axis=0))
    assert found.accuracy == pytest.approx(0.6, abs=1e-3)
    assert averaged.cooler == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("weights", "part"),
    [({3: 1.0, 5: 1.0}, 1.0), ({3: 1.0, "svm": 3.0}, 0.25), ({"svm": 1.0}, 0.0)],
)
def test_no_search_chose_the_baselines(weights: dict[int | str, float], part: float) -> None:
    one: Any = SimpleNamespace(weights=weights)
    assert judge._part_of_trials(one) == part
