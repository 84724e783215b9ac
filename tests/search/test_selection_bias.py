"""By how much a figure is too high on the rows that something was chosen by."""

import numpy as np
import pytest

from chorale.lightning_models.metrics import Proba
from chorale.search.luck import luck_of_choice


def rows_right(*rows: str) -> list[Proba]:
    """What members say who are right where there is a 1; the labels are all 0."""
    return [np.eye(2)[[int(mark == "0") for mark in row]] for row in rows]


SAME = np.zeros(10, dtype=np.int64)


def test_configurations_are_as_lucky_as_seeds_where_both_vary_alike() -> None:
    """Over track, members differ by 2/10 (variance), their seeds by 1/10; seeds' luck is 0.2."""
    now = rows_right("1111001100", "1111000011")
    then = rows_right("1111111100", "1111110011")  # 0.8, and now 0.6
    assert luck_of_choice(now, then, SAME) == pytest.approx(0.2 * (0.2 / 0.1 - 1))
    baseline = rows_right("0000011111")  # says the same again
    assert luck_of_choice(now + baseline, then + baseline, SAME) == pytest.approx(0.2)


def test_nobody_was_lucky_where_nothing_became_worse() -> None:
    now, then = rows_right("1111111100", "1111110011"), rows_right("1111001100", "1111000011")
    assert luck_of_choice(now, then, SAME) == 0
    assert luck_of_choice(now, now, SAME) == 0
    assert luck_of_choice(then[:1], now[:1], SAME) == 0
    sure = [0.9 * one + 0.05 for one in now]  # another network that is right where this one is
    assert luck_of_choice(now, sure, SAME) == 0


def test_configurations_that_are_one_to_the_seed_had_no_luck_of_their_own() -> None:
    now = rows_right("1111001100", "1111001100")
    assert luck_of_choice(now, rows_right("1111111100", "1111111100"), SAME) == 0
