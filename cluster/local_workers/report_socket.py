"""Report socket: receives reports of child processes on this machine and replies, bypassing Ray.

A report through Ray costs several processes some milliseconds of CPU time, more than an epoch of a
small network; the step from one trial to the next costs thirty. `cluster.tune.runner` and
`cluster.local_workers.runner` listen here; they learn of the start and the end of a series of
trials, and of lost processes, in another way.
"""

import socket
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from chorale.cluster.messages import ProgressReport, TrialEnded

Reply = Callable[[str, ProgressReport | TrialEnded], Any]
"""Takes a run id and a message; returns the reply, None to end a series of trials."""


class ReportSocket:
    """A Unix socket that children connect to, with one connection each for all their trials."""

    def __init__(self, path: Path) -> None:
        """Listens from now on."""
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self._connections: list[Connection[Any, Any]] = []

    def listen(
        self,
        reply: Reply,
        timeout_s: float,
        *,
        also_watch: "Sequence[Connection[Any, Any]]" = (),
    ) -> bool:
        """Replies to messages for up to `timeout_s`; returns early when anything has arrived.

        It also returns when one of `also_watch` can be read; that is left unread.

        Returns:
            Whether a series of trials or a child has ended, so that the parent's message follows.
        """
        ended = False
        for ready in wait([self._listener, *self._connections, *also_watch], timeout_s):
            if ready is self._listener:
                self._connections.append(Connection(self._listener.accept()[0].detach()))
            elif isinstance(ready, Connection) and ready not in also_watch:
                ended |= not self._reply_to(ready, reply)
        return ended

    def close(self) -> None:
        """Closes all connections and removes the socket."""
        for connection in self._connections:
            connection.close()
        self._listener.close()
        self.path.unlink(missing_ok=True)

    def _reply_to(self, connection: "Connection[Any, Any]", reply: Reply) -> bool:
        """Replies to one message; False if a series of trials or the child has ended."""
        try:
            answer = reply(*connection.recv())
            connection.send(answer)
            return answer is not None
        except (EOFError, ConnectionError):
            self._connections.remove(connection)
            connection.close()
            return False
