"""A lock file that one process holds at a time, and that says who: the system lets go for the dead.

Nights and libraries are held so; each says in its own words what another process is doing.
"""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class HeldError(Exception):
    """Another process holds it; the text says which."""


@contextmanager
def held(path: Path, *, note: str = "") -> Iterator[None]:
    """Holds the lock in file `path` for the block, or says at once that another process does.

    Args:
        path: its folder is made where it is missing.
        note: what others are told beside the name of this process.

    Raises:
        HeldError: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise HeldError(file.read().strip() or "another process") from None
        file.truncate(0)
        file.write(f"{socket.gethostname()}:{os.getpid()}{note}")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
