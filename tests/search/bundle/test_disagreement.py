"""Thresholds above which a recording is flagged as out of distribution."""

import numpy as np
import pytest

from chorale.search.bundle.disagreement import ood_threshold, ood_threshold_of_means


@pytest.mark.parametrize(
    ("n_values", "limit"), [(1, 0), (50, 49), (98, 97), (99, 98), (199, 197), (1000, 990)]
)
def test_one_percent_of_new_values_exceed_the_threshold(n_values: int, limit: int) -> None:
    values = np.random.default_rng(0).permutation(n_values).astype(float)
    assert ood_threshold(values) == limit


def test_members_that_never_disagree_never_exceed_the_threshold() -> None:
    assert ood_threshold_of_means(np.zeros(8), np.zeros((3, 5))) == 0
