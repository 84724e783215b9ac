"""Progress of `chorale library add`: a bar on a terminal, a line every 10 s in a log."""

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from chorale.datasets.audio import AudioError

LIBRARY_LINE_INTERVAL_S = 10.0
"""Seconds between two lines of a log."""


class LibraryProgress:
    """Shows the progress of passes over files on standard error."""

    def __init__(self) -> None:
        """Prepares the bar, which starts when the context is entered."""
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description:<8}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._what, self._n, self._n_done = "", 0, 0
        self._task = self._bar.add_task("", total=None)
        self._shown_s = time.monotonic()

    def __enter__(self) -> "LibraryProgress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def begin(self, what: str, n: int) -> None:
        """A pass over `n` files starts."""
        self._what, self._n, self._n_done = what, n, 0
        self._bar.reset(self._task, description=what, total=n)

    def advance(self) -> None:
        """One of the files is done."""
        self._n_done += 1
        self._bar.advance(self._task)
        now_s = time.monotonic()
        if not self._console.is_terminal and now_s - self._shown_s > LIBRARY_LINE_INTERVAL_S:
            self._shown_s = now_s
            print(f"{self._what:<10} {self._n_done} of {self._n}", file=sys.stderr, flush=True)

    def bad(self, error: AudioError) -> None:
        """Reports a file that cannot be read and is skipped."""
        line = f"chorale library add: {error}; skipped"
        if self._console.is_terminal:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, file=sys.stderr, flush=True)
