"""One process at a time runs a night of a schedule."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from chorale.datasets.lock_file import HeldError, held
from chorale.search.nightly.records import now_utc


class BusyError(Exception):
    """Another process runs a night; the text says which."""


@contextmanager
def one_at_a_time(path: Path, *, name: str) -> Iterator[None]:
    """Holds the lock of schedule `name` for the block.

    Raises:
        BusyError: another process holds it.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(held(path, note=f" since {now_utc()}"))
        except HeldError as who:
            raise BusyError(
                f"a night of '{name}' is being run already, by {who}; it goes on, and nothing was "
                f"started here"
            ) from None
        yield
