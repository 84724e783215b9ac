from typing import Any

import numpy as np
import pytest
import scipy.special
from numpy.typing import NDArray

from chorale.search.bundle.disagreement import predictive_entropy
from chorale.search.statistics import softmax


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_softmax_agrees_with_scipy(kind: type[np.floating[Any]], scale: float) -> None:
    drawn = scale * np.random.default_rng(0).standard_normal((50, 7))
    scores: NDArray[Any] = drawn.astype(kind)
    exact = 1e-6 if kind is np.float32 else 1e-14
    for ours, theirs in (
        (softmax.softmax(scores), scipy.special.softmax(scores, axis=1)),
        (softmax.log_softmax(scores), scipy.special.log_softmax(scores, axis=1)),
    ):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=exact, atol=exact)


def test_entropy_is_scipys_also_where_a_probability_is_zero() -> None:
    proba = np.array([[0.0, 1.0, 0.0], [0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])
    np.testing.assert_allclose(
        predictive_entropy(proba), scipy.special.entr(proba).sum(axis=1), atol=1e-15
    )
