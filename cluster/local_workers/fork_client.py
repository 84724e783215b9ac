"""Client of the fork server: starts it, and gets forked child processes from it.

The driver keeps `fork_server` open while it runs trials. Each Ray worker makes a `Child` of its
own; without Ray the driver makes them (`cluster.local_workers.runner`).
"""

import json
import os
import pickle
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from chorale.cluster.environment import thread_variables
from chorale.cluster.local_workers.child import OOM_SCORE_FILE, ChildSetup

FORK_SERVER_TIMEOUT_S = 10.0
"""How long the fork server may take until it listens; it imports after that."""

MAX_SOCKET_FOLDER_LENGTH = 60
"""A Unix socket's path has at most 107 characters."""


@contextmanager
def fork_server(modules: Sequence[str]) -> Iterator[Path | None]:
    """Runs a fork server that imports `modules` while the block runs; yields its socket's path.

    It imports in parallel with this process. Yields None on systems other than Linux.
    """
    if sys.platform != "linux":
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="forks-", dir=_short_temp_folder()) as folder:
        path = Path(folder) / "socket"
        with _errors_file(path).open("wb") as errors:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "chorale.cluster.local_workers.fork_server",
                    path,
                    json.dumps(sys.path),
                    *modules,
                ],
                stdin=subprocess.PIPE,
                stdout=errors,
                stderr=errors,
                env={**os.environ, **thread_variables(1), "PYTHONPATH": os.pathsep.join(sys.path)},
                start_new_session=True,
            )
        try:
            yield path
        finally:
            process.kill()
            process.communicate()


class Child:
    """A forked process that trains for this one; it ends with this process, or when closed."""

    def __init__(
        self,
        fork_socket: Path,
        work: bytes,
        *,
        n_threads: int,
        driver: Path,
        oom_score: str | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Forks it and sends it the pickled work function; it reports to the socket `driver`.

        `oom_score` is how readily the kernel kills it when memory runs out, by default as readily
        as this process. Its environment is that of this process, updated with `variables`.

        Raises:
            RuntimeError: it could not be forked, or cannot unpickle the work function; the text is
                its traceback.
        """
        self._lifeline, childs_end = socket.socketpair()  # closed by the end of this process
        with socket.socket(socket.AF_UNIX) as connected, childs_end:
            _connect(connected, fork_socket)
            score = oom_score or OOM_SCORE_FILE.read_text()
            environment = {**os.environ, **(variables or {})}
            setup = ChildSetup(environment, n_threads, score, str(driver))
            socket.send_fds(connected, [pickle.dumps(setup)], [1, 2, childs_end.fileno()])
            self.connection: Connection[Any, Any] = Connection(connected.detach())
            """its messages to this process; reports go to the driver"""
        try:
            self.connection.send_bytes(work)
            problem = self.receive()
        except (EOFError, OSError):
            problem = _errors_file(fork_socket).read_text() or "the fork server has ended"
        if problem is not None:
            raise RuntimeError(problem)

    def train(self, trial: bytes) -> None:
        """Starts a trial: its run id and `TrialSpec`, pickled."""
        self.connection.send_bytes(trial)

    def receive(self) -> Any:
        """Waits for its next message.

        Raises:
            EOFError, OSError: it has ended.
        """
        return self.connection.recv()

    def kill(self) -> None:
        """Kills it, whatever it is doing."""
        self._lifeline.close()

    def close(self) -> None:
        """Kills it and closes the connection."""
        self.kill()
        self.connection.close()


def _connect(connected: socket.socket, path: Path) -> None:
    give_up_s = time.monotonic() + FORK_SERVER_TIMEOUT_S
    while True:
        try:
            return connected.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError) as error:
            if time.monotonic() > give_up_s:
                raise RuntimeError(_errors_file(path).read_text() or str(error)) from error
            time.sleep(0.05)


def _errors_file(path: Path) -> Path:
    """Output of the fork server with socket `path`, until it forks."""
    return path.with_name("errors.txt")


def _short_temp_folder() -> str:
    folder = tempfile.gettempdir()
    return folder if len(folder) <= MAX_SOCKET_FOLDER_LENGTH else "/tmp"
