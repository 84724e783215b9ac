"""Compiles loops that numpy cannot do at once; for the few files whose speed depends on it.

Importing it imports numba: import what uses it where it is used.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])

_ANY_ORDER = {"reassoc", "contract", "arcp", "nsz"}  # of sums; NaN stays NaN


def compiled(function: F) -> F:
    """`function` as machine code, without Python's lock.

    It is compiled when it is first called, which takes seconds, once for a machine: the result is
    kept beside its file or, where that cannot be written, in the user's cache folder. It is made
    anew when its own file changes; after a change in another file that is inlined, touch it.
    """
    try:
        return _jit(function, cache=True)
    except RuntimeError:  # there is no folder to keep it in
        return _jit(function)


def inlined(function: F) -> F:
    """A part of compiled functions that is copied into them, where its sizes are constants.

    LLVM makes the copy: by numba's own `inline` the code is as fast, but compiles twice as long.
    """
    return _jit(function, forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)


def _jit(function: F, **options: Any) -> F:
    made: F = numba.njit(nogil=True, fastmath=_ANY_ORDER, **options)(function)
    return made
