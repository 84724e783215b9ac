"""Native libraries use one thread inside the block, and as many as before after it."""

import numpy as np
import scipy.linalg  # noqa: F401 - loads a BLAS of its own
from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

from chorale.search.native_threads import single_thread


def _n_threads() -> list[int]:
    return [pool["num_threads"] for pool in threadpool_info()]


def test_all_loaded_pools_have_one_thread_in_the_block_only() -> None:
    np.ones((2, 2)) @ np.ones((2, 2))
    before = _n_threads()
    with single_thread():
        assert before
        assert set(_n_threads()) == {1}
    assert _n_threads() == before
