"""The heartbeat of a lease: a thread that writes every half minute that the owner is alive.

While a trial trains in this process, nothing else would write to the ledger for minutes.
"""

import threading
from collections.abc import Callable

HEARTBEAT_INTERVAL_S = 30.0
"""Seconds between two heartbeats."""


class Heartbeat:
    """Calls `beat` every `HEARTBEAT_INTERVAL_S` seconds until `stop`."""

    def __init__(self, beat: Callable[[], None]) -> None:
        """Starts the thread, which ends with the process at the latest."""
        self._beat = beat
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ledger heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stops and joins the thread; no beat begins after this."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(HEARTBEAT_INTERVAL_S):
            self._beat()
