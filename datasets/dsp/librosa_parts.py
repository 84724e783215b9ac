"""Lazy import of librosa modules, whose ufuncs are compiled when they are called, if ever.

librosa compiles them on import, which takes half a minute where numba's cache is empty, and
extraction calls few of them. Two processes that compile and cache one generalised ufunc at the same
time leave a corrupt cache, from which it is loaded with an invalid address (seen with numba 0.68
and librosa 0.11), so one process per machine imports or compiles at a time.
"""

import fcntl
import importlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any


def librosa_module(name: str) -> Any:
    """The module `librosa.NAME`: "filters", "core.pitch"."""
    full = f"librosa.{name}"
    if full in sys.modules:
        return sys.modules[full]
    with _lock(), _ufuncs_compiled_when_called():
        return importlib.import_module(full)


class CompiledWhenCalled:
    """A ufunc that `compile_it` compiles, or loads from numba's cache, at the first call."""

    def __init__(self, compile_it: Callable[[], Callable[..., Any]]) -> None:
        self._compile = compile_it
        self._ufunc: Callable[..., Any] | None = None

    def __call__(self, *args: Any, **options: Any) -> Any:
        if self._ufunc is None:
            with _lock():
                self._ufunc = self._ufunc or self._compile()
        return self._ufunc(*args, **options)


@contextmanager
def _ufuncs_compiled_when_called() -> Iterator[None]:
    """Within the block, numba's decorators of ufuncs return a `CompiledWhenCalled`."""
    import numba

    names = ("guvectorize", "vectorize")
    decorators = {name: getattr(numba, name) for name in names}
    try:
        for name in names:
            setattr(numba, name, _postponed(decorators[name]))
        yield
    finally:
        for name in names:
            setattr(numba, name, decorators[name])


def _postponed(decorator: Callable[..., Any]) -> Callable[..., Any]:
    def with_options(*args: Any, **options: Any) -> Callable[[Callable[..., Any]], Any]:
        return lambda loop: CompiledWhenCalled(lambda: decorator(*args, **options)(loop))

    return with_options


def lock_path() -> Path:
    """The lock file of this user on this machine."""
    return Path(tempfile.gettempdir()) / f"chorale-librosa-{os.getuid()}.lock"


@contextmanager
def _lock() -> Iterator[None]:
    with ExitStack() as stack:
        with suppress(OSError):  # if nothing can be written there is no cache either
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(lock_path(), flags, 0o600)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
