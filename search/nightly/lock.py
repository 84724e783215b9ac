"""One process at a time runs a night of a schedule; the system lets go for one that dies."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from search.nightly.records import now_utc


class BusyError(Exception):
    """Another process runs a night; the text says which."""


@contextmanager
def one_at_a_time(path: Path, *, name: str) -> Iterator[None]:
    """Holds the lock of schedule `name` for the block.

    Raises:
        BusyError: another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            who = file.read().strip() or "another process"
            raise BusyError(
                f"a night of '{name}' is being run already, by {who}; it goes on, and nothing was "
                f"started here"
            ) from None
        file.truncate(0)
        file.write(f"{socket.gethostname()}:{os.getpid()} since {now_utc()}")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
