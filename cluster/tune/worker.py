"""Ray Tune trainable: runs the work function in a thread of a Ray worker process.

`cluster.tune.runner` sends it trials and gets reports and outcomes back. On one machine
`cluster.local_workers.proxy_actor` is used instead.
"""

import os
import pickle
import threading
from queue import SimpleQueue
from typing import Any

from ray import cloudpickle, tune

from chorale.cluster.base import Decision, Work
from chorale.cluster.local_workers.attempt import attempt, use_threads
from chorale.cluster.messages import MESSAGE, TRIAL, ProgressReport, Sealed, TrialEnded


class Worker(tune.Trainable):  # type: ignore[misc]
    """A Tune trainable whose step ends at the next report of the work function.

    The work function runs in one thread that lives as long as the process, so that its per-thread
    caches are shared by all trials. Between a report and the next step it waits for the driver's
    decision.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # So that relative paths mean the same in every runner.
        os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"
        os.environ["PL_DISABLE_FORK"] = "1"
        super().__init__(*args, **kwargs)

    def setup(self, config: dict[str, Any], *, work: bytes, n_threads: int) -> None:
        """Starts the thread, then the first trial.

        `work` is pickled: unpickling imports torch, which must follow `use_threads`.
        """
        use_threads(n_threads)
        self._specs: SimpleQueue[bytes] = SimpleQueue()
        self._messages: SimpleQueue[ProgressReport | TrialEnded] = SimpleQueue()
        self._decisions: SimpleQueue[Decision] = SimpleQueue()
        threading.Thread(target=self._serve, args=(cloudpickle.loads(work),), daemon=True).start()
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Starts the next trial in the same process."""
        self.config: dict[str, Any] = {}  # else Tune sends it back with each result
        self._decision = Decision.CONTINUE
        self._last: ProgressReport | TrialEnded | None = None
        self._specs.put(new_config[TRIAL].take())
        return True

    def step(self) -> dict[str, Any]:
        """Lets the work function run to its next report or its end; returns that message."""
        if isinstance(self._last, TrialEnded):
            raise RuntimeError("this process had an error that it may not recover from")
        if self._last is not None:
            self._decisions.put(self._decision)
        self._last = self._messages.get()
        # If the process must be discarded, the trial is not reported as done: Tune asks for one
        # more step, which raises, and so Tune discards the process.
        done = isinstance(self._last, TrialEnded) and not self._last.discard_process
        return {MESSAGE: Sealed(self._last), "done": done}

    def stop_work(self) -> None:
        """Makes the waiting report return STOP.

        The driver calls it before the next step; calls of one driver arrive in order.
        """
        self._decision = Decision.STOP

    def _serve(self, work: Work) -> None:
        while True:
            _, spec = pickle.loads(self._specs.get())
            self._messages.put(attempt(work, spec, self._send))

    def _send(self, report: ProgressReport) -> Decision:
        self._messages.put(report)
        return self._decisions.get()
