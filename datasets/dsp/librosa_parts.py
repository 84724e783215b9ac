"""Lazy import of librosa modules, locked to one process per machine at a time.

On import they compile generalised ufuncs with numba, which caches them. Two processes that do so at
once leave a corrupt cache, from which such a function is loaded with an invalid address (seen with
numba 0.68 and librosa 0.11); all processes that extract features start with these imports.
"""

import fcntl
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any


def librosa_module(name: str) -> Any:
    """The module `librosa.NAME`: "filters", "core.pitch"."""
    full = f"librosa.{name}"
    if full in sys.modules:
        return sys.modules[full]
    with _import_lock():
        return importlib.import_module(full)


def lock_path() -> Path:
    """The lock file of this user on this machine."""
    return Path(tempfile.gettempdir()) / f"chorale-librosa-{os.getuid()}.lock"


@contextmanager
def _import_lock() -> Iterator[None]:
    with ExitStack() as stack:
        with suppress(OSError):  # if nothing can be written there is no cache either
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(lock_path(), flags, 0o600)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
