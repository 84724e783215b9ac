"""What runs in a worker process of Ray on one machine: it passes on what a forked child says.

The child (`cluster.child`) trains. This process imports neither Tune nor PyTorch, so it is there
early; `cluster.tune` treats it as a trainable.
"""

import os
from pathlib import Path
from typing import Any

from cluster.base import Decision
from cluster.forks import Child
from cluster.messages import MESSAGE, Ended, Said, Sealed


class Relay:
    """An actor with those methods of a Tune trainable that Tune's controller calls.

    A step ends at the next report of the work function, as in `cluster.worker.Worker`.
    """

    def __init__(self, trial: Sealed, *, work: bytes, n_threads: int, forks: Path) -> None:
        """Gets a child, then starts the first trial."""
        self._child = Child(forks, work, n_threads=n_threads)
        self.reset(trial)

    def reset(self, trial: Sealed) -> bool:
        """Starts the next trial in the same child."""
        self._decision = Decision.CONTINUE
        self._last: Said | Ended | None = None
        self._child.train(trial.take())
        return True

    def train(self) -> dict[str, Any]:
        """Lets the work function go on to its next report or its end, and says which it was."""
        if isinstance(self._last, Ended):
            raise RuntimeError("this process had an error that it may not recover from")
        try:
            if self._last is not None:
                self._child.say(self._decision)
            self._last = self._child.hear()
        except (EOFError, OSError):
            os._exit(1)  # the child is gone: so the worker is lost, as far as Ray is concerned
        # See `cluster.worker`: one step more after an error that spoils the process.
        done = isinstance(self._last, Ended) and not self._last.spoilt
        return {MESSAGE: Sealed(self._last), "done": done}

    def stop_work(self) -> None:
        """Makes the report that is waiting return STOP; comes before the next step."""
        self._decision = Decision.STOP

    def get_auto_filled_metrics(self, debug_metrics_only: bool = False) -> dict[str, Any]:
        """What Tune would fill in for a trial that has said nothing."""
        del debug_metrics_only
        return {}

    def get_current_ip_pid(self) -> tuple[str, int]:
        """Where it runs, for Tune's own log."""
        return "", os.getpid()

    def stop(self) -> None:
        """Nothing to put in order: the child ends with this process."""
