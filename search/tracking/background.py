"""Keeps a tracker up to date while a sweep runs: a thread that reads the ledger by itself.

It never raises into the sweep and never makes it wait but for a bounded time at its end: a tracker
that is away is one line, and `chorale track sync STUDY` catches up.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from chorale.datasets.errors import UserError
from chorale.search.ledger.reader import LedgerReader
from chorale.search.paths import StudyPaths
from chorale.search.tracking.base import Tracker
from chorale.search.tracking.sync import StudySync

SYNC_INTERVAL_S, RETRY_S = 5.0, 15.0
"""How often a running sweep's ledger is compared with the tracker, at most; and after a failure."""

MAX_SHARE = 0.02
"""The most of one core's time that the thread takes while the sweep runs: it waits accordingly.

With 500 trials a sync takes 50 ms of processor time where nothing is new, and 17 ms for each new
trial of 60 epochs (2 cores, MLflow).
"""

LAST_WAIT_S, INTERRUPTED_WAIT_S = 60.0, 3.0
"""How long the end of a sweep waits for the tracker; and that of one that was interrupted, which
must end within `interrupts.GRACE_PERIOD_S`."""


@contextmanager
def tracked(
    tracker: Tracker,
    *,
    study: str,
    paths: StudyPaths,
    ledger_url: str,
    catch_up: str,
    warn: Callable[[str], None],
) -> Iterator[None]:
    """Writes the study to the tracker while the block runs, and once more at its end.

    `warn` gets a line where the tracker cannot be used, once until it can be used again; it ends
    with `catch_up`, the command that writes what is missing.
    """
    sync = StudySync(study, paths, tracker)
    thread = _SyncThread(tracker, sync, ledger_url, catch_up, warn)
    thread.start()
    wait_s = INTERRUPTED_WAIT_S
    try:
        yield
        wait_s = LAST_WAIT_S
    finally:
        thread.finish(wait_s)


def pause_s(took_s: float, *, failed: bool) -> float:
    """The seconds until the next sync, after one that took so much processor time."""
    return max(RETRY_S if failed else SYNC_INTERVAL_S, took_s / MAX_SHARE)


class _SyncThread(threading.Thread):
    """Syncs every few seconds, and a last time when it is asked to finish."""

    def __init__(
        self,
        tracker: Tracker,
        sync: StudySync,
        ledger_url: str,
        catch_up: str,
        warn: Callable[[str], None],
    ) -> None:
        super().__init__(name="chorale-tracking", daemon=True)
        self._tracker, self._sync, self._ledger_url = tracker, sync, ledger_url
        self._catch_up, self._warn = catch_up, warn
        self._over, self._abandoned = threading.Event(), threading.Event()
        self._failed = False

    def run(self) -> None:
        """The thread's loop."""
        try:
            is_over = self._over.is_set()
            while not is_over:
                began_s = time.thread_time()
                self._sync_once(closing=False)
                took_s = time.thread_time() - began_s
                is_over = self._over.wait(pause_s(took_s, failed=self._failed))
            self._sync_once(closing=True)
        finally:
            self._tracker.close()

    def finish(self, wait_s: float) -> None:
        """Syncs a last time, and waits for that."""
        self._over.set()
        self.join(wait_s)
        if self.is_alive():
            self._abandoned.set()  # it is a daemon: the process ends in spite of it
            if not self._failed:
                self._warn(
                    f"{self._tracker.place} did not take everything in {wait_s:.0f} s; write the "
                    f"rest with: {self._catch_up}"
                )

    def _sync_once(self, *, closing: bool) -> None:
        try:
            with LedgerReader(self._ledger_url) as ledger:
                written = self._sync.run(ledger, closing=closing)
        except UserError as error:
            self._report(f"{error}", closing=closing)
        except Exception as error:  # the thread must not die silently
            self._report(f"{type(error).__name__}: {' '.join(str(error).split())}", closing=closing)
        else:
            self._failed = False
            for line in written.left_out:
                self._warn(line)

    def _report(self, line: str, *, closing: bool) -> None:
        if self._failed or self._abandoned.is_set():
            return
        self._failed = True
        again = f"the sweep goes on, and this is tried again every {RETRY_S:.0f} s; "
        self._warn(
            f"{line}; {'' if closing else again}write what is missing with: {self._catch_up}"
        )
