"""A small thread that says every half minute that the holder of a study is alive.

While a trial trains in this very process, nobody else would say so for minutes.
"""

import threading
from collections.abc import Callable

BEAT_S = 30.0
"""Between two signs of life."""


class Heartbeat:
    """Calls `beat` every `BEAT_S` seconds until `stop`."""

    def __init__(self, beat: Callable[[], None]) -> None:
        """Starts the thread, which ends with the process at the latest."""
        self._beat = beat
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ledger heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """No beat begins after this."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(BEAT_S):
            self._beat()
