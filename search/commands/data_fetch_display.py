"""What a person sees while a dataset is downloaded: a bar on a terminal, lines in a log.

It is the listener of `datasets.download.fetch`.
"""

import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from chorale.datasets.disk import size_text
from chorale.search.console.progress import duration

PAUSE_S = 5.0
"""Between two lines in a log."""


class FetchDisplay:
    """Tells on `console` what `datasets.download.fetch` does."""

    def __init__(self, console: Console) -> None:
        """Shows nothing yet."""
        self._console = console
        self._what = ""
        self._began = self._shown = 0.0
        self._done_before = 0
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> "FetchDisplay":
        if self._console.is_interactive:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        # where it never began, rich would print an empty line
        if self._console.is_interactive:
            self._bar.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def progress(self, what: str, done: int, total: int | None) -> None:
        """`done` of `total` bytes of `what` are there."""
        now = time.monotonic()
        if what != self._what:
            self._what, self._began, self._shown, self._done_before = what, now, now, done
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(what, completed=done, total=total)
        if self._console.is_interactive and self._task is not None:
            self._bar.update(self._task, completed=done, total=total)
        elif now - self._shown >= PAUSE_S:
            self._shown = now
            self.say(self._line(done, total, elapsed_s=now - self._began))

    def _line(self, done: int, total: int | None, *, elapsed_s: float) -> str:
        rate = (done - self._done_before) / elapsed_s
        said = f"{self._what}: {size_text(done)}"
        if total:
            said += f" of {size_text(total)} ({done / total:.0%})"
        said += f", {size_text(max(rate, 0))}/s"
        if total and rate > 0:
            said += f", about {duration((total - done) / rate)} left"
        return said
