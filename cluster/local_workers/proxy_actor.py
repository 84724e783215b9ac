"""What runs in a worker process of Ray on one machine: it hands trials to a forked child.

The child (`cluster.local_workers.child`) trains and reports. This process imports neither Tune nor
PyTorch, so it is there early; `cluster.tune.proxy_actors` makes Tune take it for a trainable.
"""

import os
from pathlib import Path
from typing import Any

from chorale.cluster.local_workers.fork_client import Child
from chorale.cluster.messages import MESSAGE, Sealed


class Relay:
    """An actor with those methods of a Tune trainable that Tune's controller calls.

    A step is a whole series of trials: what they say, and what comes next, goes past Ray (see
    `cluster.local_workers.report_socket`).
    """

    def __init__(
        self, trial: Sealed, *, work: bytes, n_threads: int, forks: Path, driver: Path
    ) -> None:
        """Gets a child and keeps the first trial for it."""
        self._child = Child(forks, work, n_threads=n_threads, driver=driver)
        self.reset(trial)

    def reset(self, trial: Sealed) -> bool:
        """Keeps the first trial of the next series for the same child.

        It does not begin yet: Tune may still give it to another process, which comes free first,
        and then it would be trained, and heard, twice.
        """
        self._is_over = False
        self._trial: bytes | None = trial.take()
        return True

    def train(self) -> dict[str, Any]:
        """Begins the trial and waits until no other is to follow it."""
        if self._is_over:
            raise RuntimeError("this process had an error that it may not recover from")
        try:
            if self._trial is not None:
                self._child.train(self._trial)
                self._trial = None
            spoilt: bool = self._child.hear()
        except (EOFError, OSError):
            os._exit(1)  # the child is gone: so the worker is lost, as far as Ray is concerned
        self._is_over = True
        # See `cluster.tune.worker`: one step more after an error that spoils the process.
        return {MESSAGE: Sealed(None), "done": not spoilt}

    def get_auto_filled_metrics(self, debug_metrics_only: bool = False) -> dict[str, Any]:
        """What Tune would fill in for a trial that has said nothing."""
        del debug_metrics_only
        return {}

    def get_current_ip_pid(self) -> tuple[str, int]:
        """Where it runs, for Tune's own log."""
        return "", os.getpid()

    def stop(self) -> None:
        """Nothing to put in order: the child ends with this process."""
