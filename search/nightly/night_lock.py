"""The lock of a nightly schedule: one process at a time runs a night."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from chorale.datasets.lock_file import LockedError, exclusive_lock
from chorale.search.nightly.records import now_utc


class BusyError(Exception):
    """Another process is running a night; the message names it."""


@contextmanager
def night_lock(path: Path, *, name: str) -> Iterator[None]:
    """Holds the lock of schedule `name` for the block.

    Raises:
        BusyError: another process holds it.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(exclusive_lock(path, note=f" since {now_utc()}"))
        except LockedError as who:
            raise BusyError(
                f"a night of '{name}' is already being run by {who}; it continues, and nothing was "
                f"started here"
            ) from None
        yield
