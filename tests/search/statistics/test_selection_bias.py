"""Selection bias of configurations: by how much finalists' out-of-fold accuracy is too high."""

import numpy as np
import pytest

from chorale.lightning_models.metrics import Proba
from chorale.search.statistics.selection_bias import configuration_selection_bias


def rows_right(*rows: str) -> list[Proba]:
    """Predictions of members that are right where their row has a 1; all labels are 0."""
    return [np.eye(2)[[int(mark == "0") for mark in row]] for row in rows]


SAME = np.zeros(10, dtype=np.int64)
ALL = np.arange(10)


def test_the_bias_is_that_of_the_seed_times_the_ratio_of_variances() -> None:
    """The variance between members is 2/10, between seeds 1/10; the bias of the seed is 0.2."""
    now = rows_right("1111001100", "1111000011")
    then = rows_right("1111111100", "1111110011")  # 0.8, and now 0.6
    assert configuration_selection_bias(now, then, SAME, at=ALL) == pytest.approx(
        0.2 * (0.2 / 0.1 - 1)
    )
    baseline = rows_right("0000011111")  # the same predictions both times
    assert configuration_selection_bias(
        now + baseline, then + baseline, SAME, at=ALL
    ) == pytest.approx(0.2)


def test_the_bias_is_0_where_finalists_are_not_worse_than_their_trials() -> None:
    now, then = rows_right("1111111100", "1111110011"), rows_right("1111001100", "1111000011")
    assert configuration_selection_bias(now, then, SAME, at=ALL) == 0
    assert configuration_selection_bias(now, now, SAME, at=ALL) == 0
    assert configuration_selection_bias(then[:1], now[:1], SAME, at=ALL) == 0
    # other networks that are right on the same tracks
    other = [0.9 * one + 0.05 for one in now]
    assert configuration_selection_bias(now, other, SAME, at=ALL) == 0


def test_configurations_that_differ_only_by_the_seed_have_no_bias() -> None:
    now = rows_right("1111001100", "1111001100")
    assert (
        configuration_selection_bias(now, rows_right("1111111100", "1111111100"), SAME, at=ALL) == 0
    )


def test_the_bias_counts_for_the_search_folds_rows_only() -> None:
    rest = np.eye(2)[np.ones(30, dtype=np.int64)]
    now = [np.concatenate([one, rest]) for one in rows_right("1111001100", "1111000011")]
    then = rows_right("1111111100", "1111110011")
    labels = np.zeros(40, dtype=np.int64)
    assert configuration_selection_bias(now, then, labels, at=ALL) == pytest.approx(0.2 / 4)
