"""The threads of native libraries (BLAS, OpenMP) in this process.

Matrices of predictions are small. With several threads their products take longer, and many times
as long on a busy machine, where the threads wait for one another.
"""

import sys
from contextlib import AbstractContextManager
from functools import cache
from typing import Any


def single_thread() -> AbstractContextManager[Any]:
    """A context manager in which the native libraries that are loaded use one thread."""
    limited: AbstractContextManager[Any] = _thread_pools(
        tuple(name for name in ("numpy", "scipy.linalg", "sklearn") if name in sys.modules)
    ).limit(limits=1)
    return limited


@cache
def _thread_pools(loaded: tuple[str, ...]) -> Any:  # noqa: ARG001 - found again where it differs
    """The thread pools of this process.

    Kept, since finding them reads `/proc/self/maps`: 13 % of a small sweep if done at each fit of a
    baseline.
    """
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController()
