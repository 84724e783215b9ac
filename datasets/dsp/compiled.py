"""Numba JIT compilation of loops that NumPy cannot vectorise.

Importing it imports numba, so import the modules that use it lazily.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])

_ANY_ORDER = {"reassoc", "contract", "arcp", "nsz"}  # of sums; NaN stays NaN


def compiled(function: F) -> F:
    """`function` as machine code that releases the GIL.

    It is compiled on the first call, which takes seconds, once per machine: the result is cached
    beside its file or, where that cannot be written, in the user's cache folder. It is compiled
    again when its own file changes; after a change in another file that is inlined, touch it.
    """
    try:
        return _jit(function, cache=True)
    except RuntimeError:  # no writable cache folder
        return _jit(function)


def inlined(function: F) -> F:
    """A function that is inlined into compiled functions, where its sizes are constants.

    LLVM does the inlining: with numba's own `inline` the code is as fast, but takes twice as long
    to compile.
    """
    return _jit(function, forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)


def _jit(function: F, **options: Any) -> F:
    jitted: F = numba.njit(nogil=True, fastmath=_ANY_ORDER, **options)(function)
    return jitted
