"""What runs in a worker process of Ray Tune: the work function, in a thread of its own.

`cluster.tune.runner` sends trials in and gets reports and outcomes out. On one machine
`cluster.local_workers.proxy_actor` takes its place.
"""

import os
import pickle
import threading
from queue import SimpleQueue
from typing import Any

from ray import cloudpickle, tune

from chorale.cluster.base import Decision, Work
from chorale.cluster.local_workers.attempt import attempt, use_threads
from chorale.cluster.messages import MESSAGE, TRIAL, Ended, Said, Sealed


class Worker(tune.Trainable):  # type: ignore[misc]
    """A Tune trainable whose step ends at the next report of the work function.

    The work function runs in one thread that lives as long as the process, so that its per-thread
    caches serve all trials. Between a report and the next step it waits for the driver's decision.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # A relative path means the same to the work function wherever it runs.
        os.environ["RAY_CHDIR_TO_TRIAL_DIR"] = "0"
        os.environ["PL_DISABLE_FORK"] = "1"
        super().__init__(*args, **kwargs)

    def setup(self, config: dict[str, Any], *, work: bytes, n_threads: int) -> None:
        """Starts the thread, then the first trial.

        `work` comes pickled: unpickling it imports torch, after the number of threads is set.
        """
        use_threads(n_threads)
        self._specs: SimpleQueue[bytes] = SimpleQueue()
        self._messages: SimpleQueue[Said | Ended] = SimpleQueue()
        self._decisions: SimpleQueue[Decision] = SimpleQueue()
        threading.Thread(target=self._serve, args=(cloudpickle.loads(work),), daemon=True).start()
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Starts the next trial in the same process."""
        self.config: dict[str, Any] = {}  # Tune would send it back with each result
        self._decision = Decision.CONTINUE
        self._last: Said | Ended | None = None
        self._specs.put(new_config[TRIAL].take())
        return True

    def step(self) -> dict[str, Any]:
        """Lets the work function go on to its next report or its end, and says which it was."""
        if isinstance(self._last, Ended):
            raise RuntimeError("this process had an error that it may not recover from")
        if self._last is not None:
            self._decisions.put(self._decision)
        self._last = self._messages.get()
        # After an error that spoils the process Tune is not told that the trial is done: it asks
        # for one more step, which raises, and that makes it throw the process away.
        done = isinstance(self._last, Ended) and not self._last.spoilt
        return {MESSAGE: Sealed(self._last), "done": done}

    def stop_work(self) -> None:
        """Makes the report that is waiting return STOP.

        The driver calls it before the next step; the calls of one driver arrive in order.
        """
        self._decision = Decision.STOP

    def _serve(self, work: Work) -> None:
        while True:
            _, spec = pickle.loads(self._specs.get())
            self._messages.put(attempt(work, spec, self._ask))

    def _ask(self, said: Said) -> Decision:
        self._messages.put(said)
        return self._decisions.get()
