"""File lock: one process at a time adds to a library."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from chorale.datasets.errors import UserError
from chorale.datasets.lock_file import LockedError, exclusive_lock
from chorale.search.paths import LibraryPaths


@contextmanager
def library_lock(paths: LibraryPaths) -> Iterator[None]:
    """Keeps the library locked within the `with` block.

    Raises:
        UserError: another process has locked it.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(exclusive_lock(paths.lock))
        except LockedError as who:
            raise UserError(
                f"the library in '{paths.root}' is being added to by {who}; wait for it to end, "
                f"then type the same again"
            ) from None
        yield
