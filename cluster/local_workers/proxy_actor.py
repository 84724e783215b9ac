"""Proxy actor: a Ray worker process that passes trials to a forked child on the same machine.

The child (`cluster.local_workers.child`) trains and reports. The actor's process imports neither
Tune nor PyTorch, so it starts fast; `cluster.tune.proxy_actors` makes Tune use it as a trainable.
"""

import os
from pathlib import Path
from typing import Any

from chorale.cluster.local_workers.fork_client import Child
from chorale.cluster.messages import MESSAGE, Sealed


class ProxyActor:
    """An actor with the methods of a Tune trainable that Tune's controller calls.

    One step is a series of trials: reports, outcomes and the next trials bypass Ray (see
    `cluster.local_workers.report_socket`).
    """

    def __init__(
        self, trial: Sealed, *, work: bytes, n_threads: int, fork_socket: Path, driver: Path
    ) -> None:
        """Forks a child and keeps its first trial."""
        self._child = Child(fork_socket, work, n_threads=n_threads, driver=driver)
        self.reset(trial)

    def reset(self, trial: Sealed) -> bool:
        """Keeps the first trial of the next series for the same child.

        It does not start yet: Tune may still give the trial to another process that becomes free
        first, and then it would be trained, and reported, twice.
        """
        self._has_ended = False
        self._trial: bytes | None = trial.take()
        return True

    def train(self) -> dict[str, Any]:
        """Starts the trial and waits until its series has ended."""
        if self._has_ended:
            raise RuntimeError("this process had an error that it may not recover from")
        try:
            if self._trial is not None:
                self._child.train(self._trial)
                self._trial = None
            discard_process: bool = self._child.receive()
        except (EOFError, OSError):
            os._exit(1)  # the child has ended, so that Ray must count this worker as lost
        self._has_ended = True
        # See `cluster.tune.worker`: Tune needs one more step to discard the process.
        return {MESSAGE: Sealed(None), "done": not discard_process}

    def get_auto_filled_metrics(self, debug_metrics_only: bool = False) -> dict[str, Any]:
        """Metrics that Tune fills in for a trial without results: none."""
        del debug_metrics_only
        return {}

    def get_current_ip_pid(self) -> tuple[str, int]:
        """Address and process id, for Tune's log."""
        return "", os.getpid()

    def stop(self) -> None:
        """Does nothing: the child ends with this process."""
