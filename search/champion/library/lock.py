"""One process at a time adds to a library; the system lets go for one that dies."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from datasets.errors import UserError
from search.paths import LibraryPaths


@contextmanager
def one_at_a_time(paths: LibraryPaths) -> Iterator[None]:
    """Holds the library's lock for the block.

    Raises:
        UserError: another process holds it.
    """
    paths.root.mkdir(parents=True, exist_ok=True)
    with paths.lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            who = file.read().strip() or "another process"
            raise UserError(
                f"the library in '{paths.root}' is being added to by {who}; wait for it to end, "
                f"then type the same again"
            ) from None
        file.truncate(0)
        file.write(f"{socket.gethostname()}:{os.getpid()}")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
