"""By how much a figure is too high on the rows that something was chosen by."""

import numpy as np
import pytest

from chorale.lightning_models.metrics import Proba
from chorale.search.statistics.selection_bias import of_configurations


def rows_right(*rows: str) -> list[Proba]:
    """What members say who are right where there is a 1; the labels are all 0."""
    return [np.eye(2)[[int(mark == "0") for mark in row]] for row in rows]


SAME = np.zeros(10, dtype=np.int64)
ALL = np.arange(10)


def test_the_bias_by_configuration_is_that_by_seed_where_both_vary_alike() -> None:
    """Over track members vary by 2/10, their seeds by 1/10; the bias by seed is 0.2."""
    now = rows_right("1111001100", "1111000011")
    then = rows_right("1111111100", "1111110011")  # 0.8, and now 0.6
    assert of_configurations(now, then, SAME, at=ALL) == pytest.approx(0.2 * (0.2 / 0.1 - 1))
    baseline = rows_right("0000011111")  # says the same again
    assert of_configurations(now + baseline, then + baseline, SAME, at=ALL) == pytest.approx(0.2)


def test_there_is_none_where_nothing_became_worse() -> None:
    now, then = rows_right("1111111100", "1111110011"), rows_right("1111001100", "1111000011")
    assert of_configurations(now, then, SAME, at=ALL) == 0
    assert of_configurations(now, now, SAME, at=ALL) == 0
    assert of_configurations(then[:1], now[:1], SAME, at=ALL) == 0
    sure = [0.9 * one + 0.05 for one in now]  # another network that is right where this one is
    assert of_configurations(now, sure, SAME, at=ALL) == 0


def test_configurations_that_differ_in_nothing_but_the_seed_have_none() -> None:
    now = rows_right("1111001100", "1111001100")
    assert of_configurations(now, rows_right("1111111100", "1111111100"), SAME, at=ALL) == 0


def test_it_counts_for_the_rows_of_the_fold_alone() -> None:
    rest = np.eye(2)[np.ones(30, dtype=np.int64)]
    now = [np.concatenate([one, rest]) for one in rows_right("1111001100", "1111000011")]
    then = rows_right("1111111100", "1111110011")
    labels = np.zeros(40, dtype=np.int64)
    assert of_configurations(now, then, labels, at=ALL) == pytest.approx(0.2 / 4)
