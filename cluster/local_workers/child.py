"""Worker process forked from the fork server: trains one trial after another for its parent.

The parent, a Ray worker (`cluster.local_workers.proxy_actor`) or the driver
(`cluster.local_workers.runner`), sends the first trial and is notified when no other follows. The
driver (`cluster.local_workers.report_socket`) gets each report and each trial's outcome, and
replies with the next trial.
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

from chorale.cluster import preemption
from chorale.cluster.local_workers.attempt import attempt, use_threads
from chorale.cluster.messages import ProgressReport, TrialEnded

MAX_SETUP_BYTES = 2**20
OOM_SCORE_FILE = Path("/proc/self/oom_score_adj")
"""How readily the kernel kills a process when memory runs out."""


@dataclass(frozen=True)
class ChildSetup:
    """What a child takes over from its parent: the environment, threads and OOM score.

    `driver` is the path of the driver's report socket. Sent along are the parent's standard output
    and error, and a socket that is never written to: its end means that the parent has ended.
    """

    environment: Mapping[str, str]
    n_threads: int
    oom_score: str
    driver: str


def run_child(connection: socket.socket) -> NoReturn:
    """Trains for the parent at the other end of the connection until that ends; then exits."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        preemption.end_soon_on_sigterm()
        data, files, _, _ = socket.recv_fds(connection, MAX_SETUP_BYTES, 3)
        setup: ChildSetup = pickle.loads(data)
        _apply_setup(setup, *files)
        _train(Connection(connection.detach()), setup.driver)
    except (EOFError, OSError):
        pass  # the parent has ended: there is nobody to report to
    finally:
        os._exit(0)


def _apply_setup(setup: ChildSetup, output: int, errors: int, lifeline: int) -> None:
    os.dup2(output, 1)
    os.dup2(errors, 2)
    os.environ.clear()
    os.environ.update(setup.environment)
    OOM_SCORE_FILE.write_text(setup.oom_score)
    use_threads(setup.n_threads)
    # The kernel kills this process as soon as the parent's end of the socket is closed.
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:
        raise EOFError  # it was closed before


F_SETSIG = 10
"""Linux: which signal a file with O_ASYNC sends (fcntl.h)."""


def _train(parent: "Connection[Any, Any]", driver_path: str) -> None:
    """Sends None once the work function is unpickled, else a traceback; then trains trials."""
    try:
        work = pickle.loads(parent.recv_bytes())
    except Exception:
        parent.send(traceback.format_exc())
        return
    parent.send(None)
    driver = Client(driver_path, "AF_UNIX")

    def send(run_id: str, message: ProgressReport | TrialEnded) -> Any:
        try:
            driver.send((run_id, message))
            return driver.recv()
        except (EOFError, OSError):
            os._exit(1)  # the driver has ended: nobody needs the rest of the trial

    while True:
        trial, discard_process = parent.recv_bytes(), False
        while trial is not None:
            run_id, spec = pickle.loads(trial)
            ended = attempt(work, spec, partial(send, run_id))
            trial, discard_process = send(run_id, ended), ended.discard_process
        parent.send(discard_process)
