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

    It is compiled when it is first called, which takes a second or more, once for a machine: the
    result is kept beside its file or, where that cannot be written, in the user's cache folder.
    """
    try:
        return _jit(function, cache=True)
    except RuntimeError:  # there is no folder to keep it in
        return _jit(function)


def inlined(function: F) -> F:
    """A part of compiled functions that is copied into them, where its sizes are constants."""
    return _jit(function, inline="always")


def _jit(function: F, **options: Any) -> F:
    made: F = numba.njit(nogil=True, fastmath=_ANY_ORDER, **options)(function)
    return made
