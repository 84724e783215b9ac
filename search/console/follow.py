"""Shows what a sweep prints somewhere else, as it would look here.

In a log file each ended trial says also how far all are; on a terminal that part becomes one line
at the bottom which stays current.
"""

from rich.console import Console
from rich.status import Status

from chorale.search.console.progress import MARK


class Follower:
    """Gets a log in pieces, which may end anywhere, and prints it line by line."""

    def __init__(self, console: Console) -> None:
        """Prints on `console`; nothing yet."""
        self._console = console
        self._rest = ""
        self._status: Status | None = None

    def __enter__(self) -> "Follower":
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()
        if self._rest:
            self._print(self._rest)
            self._rest = ""

    def __call__(self, piece: str) -> None:
        """The next piece of the log."""
        *lines, self._rest = (self._rest + piece).split("\n")
        for line in lines:
            self._print(line)

    def _print(self, line: str) -> None:
        said, mark, summary = line.partition(MARK)
        if self._console.is_terminal and mark:
            if self._status is None:
                self._status = self._console.status("")
                self._status.start()
            self._status.update(f"trials {summary}")
            if not said.strip():
                return
            line = said
        elif self._status is not None and not line.startswith(" "):  # a stage is over
            self._status.stop()
            self._status = None
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
