"""The coverage of 95 % confidence intervals on simulated test sets with correlated groups."""

from itertools import product

import numpy as np
import pytest

from chorale.search.statistics.intervals import difference_interval, proportion_interval

N_SETS = 300


@pytest.mark.parametrize(
    ("accuracy", "icc", "n_groups"),
    list(product([0.6, 0.95, 0.98], [0.0, 0.2, 0.3], [3, 10, 40])),
)
def test_the_interval_of_an_accuracy_covers_it(accuracy: float, icc: float, n_groups: int) -> None:
    rng = np.random.default_rng(n_groups)
    groups = np.repeat(np.arange(n_groups), 10)
    more = (1 - icc) / icc if icc else np.inf
    inside = []
    for _ in range(N_SETS):
        skill = rng.beta(accuracy * more, (1 - accuracy) * more, n_groups) if icc else accuracy
        right = rng.random((n_groups, 10)) < np.broadcast_to(skill, n_groups)[:, None]
        low, high = proportion_interval(right.ravel().astype(float), groups)
        inside.append(low <= accuracy <= high)
    assert np.mean(inside) >= 0.93  # of 300; the full run has 2,000 a cell and a goal of 0.94


@pytest.mark.parametrize(
    ("apart", "side", "icc", "n_groups"),
    list(product([0.02, 0.3], [0.5, 1.0], [0.0, 0.3], [3, 10, 40])),
)
def test_the_interval_of_a_paired_difference_covers_it(
    apart: float, side: float, icc: float, n_groups: int
) -> None:
    """One model alone is right on the share `apart` of the tracks, the first on `side` of these."""
    rng = np.random.default_rng(n_groups)
    groups = np.repeat(np.arange(n_groups), 10)
    shares = np.array([apart * side, apart * (1 - side), 1 - apart])
    truth = shares[0] - shares[1]
    inside = []
    for _ in range(N_SETS):
        each = np.tile(shares, (n_groups, 1))
        if icc:
            drawn = rng.standard_gamma(shares * (1 - icc) / icc, (n_groups, 3)) + 1e-300
            each = drawn / drawn.sum(axis=1, keepdims=True)
        where = (rng.random((n_groups, 10, 1)) > each.cumsum(axis=1)[:, None, :]).sum(axis=2)
        low, high = difference_interval(
            np.array([1.0, -1.0, 0.0])[np.minimum(where, 2)].ravel(), groups
        )
        inside.append(low - 1e-12 <= truth <= high + 1e-12)
    assert np.mean(inside) >= 0.93


@pytest.mark.parametrize("n_groups", [2, 6, 30])
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_interval_has_a_width_where_all_are_right_or_wrong(n_groups: int, share: float) -> None:
    low, high = proportion_interval(np.full(2 * n_groups, share), np.repeat(np.arange(n_groups), 2))
    assert low <= share <= high
    assert high - low > 1 / (4 * n_groups)  # 3 / n for n independent tracks


def test_the_paired_interval_has_a_width_where_both_are_equally_right() -> None:
    low, high = difference_interval(np.zeros(20), np.arange(20))
    assert low == pytest.approx(-high)
    assert 0.1 < high < 0.5


def test_more_groups_give_a_narrower_interval() -> None:
    widths = []
    for n_groups in (2, 3, 10, 100):
        groups = np.repeat(np.arange(n_groups), 10)
        low, high = proportion_interval(np.tile([1.0] * 8 + [0.0] * 2, n_groups), groups)
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.1 < 0.5 < widths[0]


def test_swapping_the_models_mirrors_the_paired_interval() -> None:
    rng = np.random.default_rng(0)
    gain, groups = rng.choice([1.0, 0.0, -1.0], 60, p=[0.3, 0.6, 0.1]), np.arange(60) // 5
    low, high = difference_interval(gain, groups)
    assert difference_interval(-gain, groups) == pytest.approx((-high, -low))
    assert -1 <= low < gain.mean() < high <= 1
