"""Imports parts of librosa, by one process of a machine at a time.

As they are imported they compile generalised ufuncs with numba, which keeps them for the next
process. Two processes that do so at once leave a cache from which such a function is loaded as a
call to nowhere (seen with numba 0.68 and librosa 0.11); those that extract features all begin with
it.
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


def part(name: str) -> Any:
    """The module `librosa.NAME`: "filters", "core.pitch"."""
    full = f"librosa.{name}"
    if full in sys.modules:
        return sys.modules[full]
    with _alone():
        return importlib.import_module(full)


def lock_file() -> Path:
    """Which file is locked, of each user on a machine."""
    return Path(tempfile.gettempdir()) / f"chorale-librosa-{os.getuid()}.lock"


@contextmanager
def _alone() -> Iterator[None]:
    with ExitStack() as stack:
        with suppress(OSError):  # where nothing can be written no cache is kept either
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(lock_file(), flags, 0o600)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
