"""One process at a time adds to a library."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from chorale.datasets.errors import UserError
from chorale.datasets.lock_file import HeldError, held
from chorale.search.paths import LibraryPaths


@contextmanager
def one_at_a_time(paths: LibraryPaths) -> Iterator[None]:
    """Holds the library's lock for the block.

    Raises:
        UserError: another process holds it.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(held(paths.lock))
        except HeldError as who:
            raise UserError(
                f"the library in '{paths.root}' is being added to by {who}; wait for it to end, "
                f"then type the same again"
            ) from None
        yield
