"""How far `chorale library add` is: a bar on a terminal, a line now and then in a log."""

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from chorale.datasets.audio import AudioError

PAUSE_S = 10.0
"""Between two lines of a log."""


class Display:
    """Shows steps over files on standard error."""

    def __init__(self) -> None:
        """Shows nothing yet."""
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

    def __enter__(self) -> "Display":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def begin(self, what: str, n: int) -> None:
        """A step over `n` files begins."""
        self._what, self._n, self._n_done = what, n, 0
        self._bar.reset(self._task, description=what, total=n)

    def advance(self) -> None:
        """One of them is done."""
        self._n_done += 1
        self._bar.advance(self._task)
        now_s = time.monotonic()
        if not self._console.is_terminal and now_s - self._shown_s > PAUSE_S:
            self._shown_s = now_s
            print(f"{self._what:<10} {self._n_done} of {self._n}", file=sys.stderr, flush=True)

    def bad(self, error: AudioError) -> None:
        """A file gives nothing; the rest is done."""
        line = f"chorale library add: {error}; it is left out"
        if self._console.is_terminal:
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, file=sys.stderr, flush=True)
