"""A worker process, forked from the fork server: trains one trial after the other for its owner.

The owner, a Ray worker (`cluster.local_workers.proxy_actor`) or the driver
(`cluster.local_workers.runner`), says what to train first and is told when there is nothing more;
the driver (`cluster.local_workers.report_socket`) is told each report and how each trial ended, and
has the next one.
"""

import fcntl
import os
import pickle
import select
import signal
import socket
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import Any, NoReturn

from chorale.cluster.local_workers.attempt import attempt, use_threads
from chorale.cluster.messages import Ended, Said

MAX_GREETING_BYTES = 2**20
OOM_SCORE = Path("/proc/self/oom_score_adj")
"""How readily the kernel ends a process when memory is short."""


@dataclass(frozen=True)
class Greeting:
    """What a child takes over from its worker: the environment, and how soon the kernel ends it.

    `driver` is the socket of who decides. With it come the worker's standard output and error, and
    a socket that nobody writes to.
    """

    environment: Mapping[str, str]
    n_threads: int
    oom_score: str
    driver: str


def serve(connection: socket.socket) -> NoReturn:
    """Serves the worker at the other end of the connection until it is gone; then exits."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        data, files, _, _ = socket.recv_fds(connection, MAX_GREETING_BYTES, 3)
        greeting: Greeting = pickle.loads(data)
        _take_over(greeting, *files)
        _train(Connection(connection.detach()), greeting.driver)
    except (EOFError, OSError):
        pass  # the worker is gone: nobody is there to be told
    finally:
        os._exit(0)


def _take_over(greeting: Greeting, output: int, errors: int, life: int) -> None:
    os.dup2(output, 1)
    os.dup2(errors, 2)
    os.environ.clear()
    os.environ.update(greeting.environment)
    OOM_SCORE.write_text(greeting.oom_score)
    use_threads(greeting.n_threads)
    # The kernel kills this process when its worker's end is closed, whatever it is doing then.
    fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(life, F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([life], [], [], 0)[0]:
        raise EOFError  # it was closed before


F_SETSIG = 10
"""Linux: which signal a file with O_ASYNC sends (fcntl.h)."""


def _train(worker: "Connection[Any, Any]", driver_at: str) -> None:
    """Says None once it knows its work, else why it does not; then trains what it is given."""
    try:
        work = pickle.loads(worker.recv_bytes())
    except Exception:
        worker.send(traceback.format_exc())
        return
    worker.send(None)
    driver = Client(driver_at, "AF_UNIX")

    def ask(name: str, message: Said | Ended) -> Any:
        try:
            driver.send((name, message))
            return driver.recv()
        except (EOFError, OSError):
            os._exit(1)  # nobody is there who would want to know the rest

    while True:
        trial, spoilt = worker.recv_bytes(), False
        while trial is not None:
            name, spec = pickle.loads(trial)
            ended = attempt(work, spec, partial(ask, name))
            trial, spoilt = ask(name, ended), ended.spoilt
        worker.send(spoilt)
