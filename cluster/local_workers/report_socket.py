"""Hears what children on this machine say and answers them, with no Ray in between.

A report through Ray costs several processes some milliseconds of work, more than an epoch of a
small network, and the way from one trial to the next thirty. `cluster.tune.runner` and
`cluster.local_workers.runner` listen; the begin and the end of a series of trials, and losses, come
to them in another way.
"""

import socket
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from chorale.cluster.messages import Ended, Said

Answer = Callable[[str, Said | Ended], Any]
"""Takes Tune's name of a trial and what the trial said; None ends a series of trials."""


class Ear:
    """A socket that children connect to, each for all its trials."""

    def __init__(self, path: Path) -> None:
        """Listens from now on."""
        self.path = path
        self._door = socket.socket(socket.AF_UNIX)
        self._door.bind(str(path))
        self._door.listen(64)
        self._lines: list[Connection[Any, Any]] = []

    def listen(
        self,
        answer: Answer,
        timeout_s: float,
        *,
        beside: "Sequence[Connection[Any, Any]]" = (),
    ) -> bool:
        """Answers for so long at most; stops early when a series of trials or a child has ended.

        So it does when one of `beside` has something to say, which is left there.

        Returns:
            Whether a series or a child has ended, so that more is about to be told.
        """
        ended = False
        for ready in wait([self._door, *self._lines, *beside], timeout_s):
            if ready is self._door:
                self._lines.append(Connection(self._door.accept()[0].detach()))
            elif isinstance(ready, Connection) and ready not in beside:
                ended |= not self._answered(ready, answer)
        return ended

    def close(self) -> None:
        """Hangs up."""
        for line in self._lines:
            line.close()
        self._door.close()
        self.path.unlink(missing_ok=True)

    def _answered(self, line: "Connection[Any, Any]", answer: Answer) -> bool:
        """Whether it was answered with something to do: that was no end of a series or a child."""
        try:
            answered = answer(*line.recv())
            line.send(answered)
            return answered is not None
        except (EOFError, ConnectionError):
            self._lines.remove(line)
            line.close()
            return False
