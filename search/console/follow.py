"""Follows the log of a remote job on this terminal.

In a log file each line of an ended trial also holds a summary of all trials; on a terminal the
summary becomes one status line at the bottom.
"""

from rich.console import Console
from rich.status import Status

from chorale.search.console.progress import SUMMARY_MARK


class LogFollower:
    """Receives a log in chunks, which may end anywhere, and prints it line by line."""

    def __init__(self, console: Console) -> None:
        """Will print on `console`."""
        self._console = console
        self._rest = ""
        self._status: Status | None = None

    def __enter__(self) -> "LogFollower":
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()
        if self._rest:
            self._print(self._rest)
            self._rest = ""

    def __call__(self, chunk: str) -> None:
        """Prints the next chunk of the log."""
        *lines, self._rest = (self._rest + chunk).split("\n")
        for line in lines:
            self._print(line)

    def _print(self, line: str) -> None:
        ended, mark, summary = line.partition(SUMMARY_MARK)
        if self._console.is_terminal and mark:
            if self._status is None:
                self._status = self._console.status("")
                self._status.start()
            self._status.update(f"trials {summary}")
            if not ended.strip():
                return
            line = ended
        elif self._status is not None and not line.startswith(" "):  # a stage has ended
            self._status.stop()
            self._status = None
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
