"""Progress of a dataset's download: a bar on a terminal, lines in a log.

It implements the listener of `datasets.download.fetch`.
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

from chorale.datasets.disk import format_size
from chorale.search.console.progress import duration_text

DOWNLOAD_LINE_INTERVAL_S = 5.0
"""Seconds between two lines in a log."""


class DownloadProgress:
    """Shows the progress of `datasets.download.fetch` on `console`."""

    def __init__(self, console: Console) -> None:
        """Prepares the bar, which starts when the context is entered."""
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

    def __enter__(self) -> "DownloadProgress":
        if self._console.is_interactive:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        # stopping a bar that never started makes rich print an empty line
        if self._console.is_interactive:
            self._bar.stop()

    def message(self, text: str) -> None:
        """Prints a line."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def progress(self, what: str, done: int, total: int | None) -> None:
        """Shows that `done` of `total` bytes of `what` have been downloaded."""
        now = time.monotonic()
        if what != self._what:
            self._what, self._began, self._shown, self._done_before = what, now, now, done
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(what, completed=done, total=total)
        if self._console.is_interactive and self._task is not None:
            self._bar.update(self._task, completed=done, total=total)
        elif now - self._shown >= DOWNLOAD_LINE_INTERVAL_S:
            self._shown = now
            self.message(self._line(done, total, elapsed_s=now - self._began))

    def _line(self, done: int, total: int | None, *, elapsed_s: float) -> str:
        rate = (done - self._done_before) / elapsed_s
        line = f"{self._what}: {format_size(done)}"
        if total:
            line += f" of {format_size(total)} ({done / total:.0%})"
        line += f", {format_size(max(rate, 0))}/s"
        if total and rate > 0:
            line += f", about {duration_text((total - done) / rate)} left"
        return line
