"""Lock file (flock) that one process holds at a time; it contains the name of that process.

The system releases the lock of a process that has died. Nightly runs, libraries and the registry
use it. Not the library filelock, which does not name the process that holds a lock.
"""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class LockedError(Exception):
    """Another process holds the lock; the text names it."""


@contextmanager
def exclusive_lock(path: Path, *, note: str = "", wait: bool = False) -> Iterator[None]:
    """Holds the lock in file `path` for the block.

    Args:
        path: the lock file; its folder is made where it is missing.
        note: written to the file after the name of this process, for errors of others.
        wait: wait for another process that holds it, instead of raising.

    Raises:
        LockedError: another process holds it, and `wait` is false.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            file.seek(0)
            raise LockedError(file.read().strip() or "another process") from None
        file.truncate(0)
        file.write(f"{socket.gethostname()}:{os.getpid()}{note}")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
