"""Starts the process that workers of this machine are forked from, and gets a worker of it.

The driver holds `forks` open while it runs trials; each Ray worker makes a `Child` for its own, and
without Ray the driver itself makes them (`cluster.local_workers.runner`).
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

from chorale.cluster.environment import threads
from chorale.cluster.local_workers.child import OOM_SCORE, Greeting

START_S = 10.0
"""How long the process may take until it listens; what it imports it does while others wait."""

MAX_FOLDER_LENGTH = 60
"""A Unix socket's path has at most 107 characters."""


@contextmanager
def forks(modules: Sequence[str]) -> Iterator[Path | None]:
    """While the block runs, there is a process that imports `modules` and forks; gives its socket.

    It imports while this process goes on. None on systems other than Linux.
    """
    if sys.platform != "linux":
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="forks-", dir=_short()) as folder:
        path = Path(folder) / "socket"
        with _errors_of(path).open("wb") as errors:
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
                env={**os.environ, **threads(1), "PYTHONPATH": os.pathsep.join(sys.path)},
                start_new_session=True,
            )
        try:
            yield path
        finally:
            process.kill()
            process.communicate()


class Child:
    """A process of its own, forked for this one; it ends when this one does, or drops it."""

    def __init__(
        self,
        forks: Path,
        work: bytes,
        *,
        n_threads: int,
        driver: Path,
        oom_score: str | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Asks for it and gives it its work, pickled; it reports to the socket of the `driver`.

        The kernel ends it as readily as `oom_score` says, by default as readily as this process;
        its environment is that of this process, with `variables`.

        Raises:
            RuntimeError: it cannot be had, or does not know its work; the text is its traceback.
        """
        self._life, theirs = socket.socketpair()  # to be closed by the end of this process
        with socket.socket(socket.AF_UNIX) as wire, theirs:
            _connect(wire, forks)
            score = oom_score or OOM_SCORE.read_text()
            environment = {**os.environ, **(variables or {})}
            greeting = Greeting(environment, n_threads, score, str(driver))
            socket.send_fds(wire, [pickle.dumps(greeting)], [1, 2, theirs.fileno()])
            self.wire: Connection[Any, Any] = Connection(wire.detach())
            """what it says, beside what it reports"""
        try:
            self.wire.send_bytes(work)
            problem = self.hear()
        except (EOFError, OSError):
            problem = _errors_of(forks).read_text() or "the process that workers come from is gone"
        if problem is not None:
            raise RuntimeError(problem)

    def train(self, trial: bytes) -> None:
        """Begins a trial: pickled, Tune's name of it and a `TrialSpec`."""
        self.wire.send_bytes(trial)

    def hear(self) -> Any:
        """Waits for its next word.

        Raises:
            EOFError, OSError: it is gone.
        """
        return self.wire.recv()

    def kill(self) -> None:
        """Ends it, whatever it is doing."""
        self._life.close()

    def close(self) -> None:
        """Ends it, and hears no more."""
        self.kill()
        self.wire.close()


def _connect(wire: socket.socket, path: Path) -> None:
    give_up_s = time.monotonic() + START_S
    while True:
        try:
            return wire.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError) as error:
            if time.monotonic() > give_up_s:
                raise RuntimeError(_errors_of(path).read_text() or str(error)) from error
            time.sleep(0.05)


def _errors_of(path: Path) -> Path:
    """What the process behind a socket printed before it forked anything."""
    return path.with_name("errors.txt")


def _short() -> str:
    folder = tempfile.gettempdir()
    return folder if len(folder) <= MAX_FOLDER_LENGTH else "/tmp"
