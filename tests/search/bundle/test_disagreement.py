"""The limits above which a recording is flagged as none of the classes."""

import numpy as np
import pytest

from chorale.search.bundle.disagreement import usual_limit, usual_limit_of_means


@pytest.mark.parametrize(
    ("n_values", "limit"), [(1, 0), (50, 49), (98, 97), (99, 98), (199, 197), (1000, 990)]
)
def test_one_of_a_hundred_new_values_is_above(n_values: int, limit: int) -> None:
    values = np.random.default_rng(0).permutation(n_values).astype(float)
    assert usual_limit(values) == limit


def test_who_never_disagrees_is_never_above() -> None:
    assert usual_limit_of_means(np.zeros(8), np.zeros((3, 5))) == 0
