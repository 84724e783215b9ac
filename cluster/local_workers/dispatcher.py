"""Dispatcher between workers and `Trials`: starts trials, and passes reports and outcomes on.

Each run of a trial has a run id. Tune's searcher, scheduler and controller
(`cluster.tune.controller`) share one dispatcher, and a run id is a Tune trial's id;
`cluster.local_workers.runner` has a dispatcher of its own. Where reports bypass Ray (see
`cluster.local_workers.report_socket`), the next trial is sent that way too: one run id then stands
for several trials that run in one process, one after the other.
"""

import pickle
import time

from chorale.cluster.base import (
    ClusterError,
    Decision,
    End,
    Failure,
    Outcome,
    Resources,
    Trials,
    TrialSpec,
)
from chorale.cluster.failures import failed_outcome, ran_out_of_memory
from chorale.cluster.messages import ProgressReport, TrialEnded
from chorale.cluster.pickling import pickle_value

MAX_FAILED_STARTS = 3
"""The run ends after this many workers in a row that failed to start."""


class Dispatcher:
    """The running trials by run id, and what is known about each."""

    def __init__(self, trials: Trials, *, n_at_once: int) -> None:
        self.n_at_once = n_at_once
        self.n_waiting = 0
        """how many trials wait for a worker"""
        self.max_waiting = n_at_once
        self.resource_overrides: set[Resources] = set()
        """the resources of trials that have their own"""
        self.error: Exception | None = None
        """Tune would log an error raised in a callback and go on; kept here, it ends the run."""
        self._trials = trials
        self._running: dict[str, TrialSpec] = {}
        self._last_activity_s: dict[str, float] = {}
        self._stalled: dict[str, str] = {}
        self._postponed: TrialSpec | None = None
        """a trial that was asked for a process which has other resources"""
        self._none_available = False
        self._n_failed_starts = 0

    def has_room(self) -> bool:
        """Whether to ask for another trial now; called ten times a second."""
        if self.resource_overrides and self.n_waiting >= self.max_waiting:
            return False  # how much room is left is known once the waiting trials have a worker
        return len(self._running) < self.n_at_once and not self._none_available

    def is_done(self) -> bool:
        return self._postponed is None and self._trials.done()

    def ask(self, run_id: str) -> bytes | None:
        """The next trial, pickled with its run id; None if there is none now."""
        spec = self._next()
        if spec is None:
            return None
        self.n_waiting += 1
        if spec.resources is not None:
            self.resource_overrides.add(spec.resources)
        return self._begin(run_id, spec)

    def resources(self, run_id: str) -> Resources | None:
        """The resources of a trial that has its own, else None."""
        return self._running[run_id].resources

    def record_activity(self, run_id: str) -> None:
        """Restarts a trial's stall timer: it has reported, or is still waiting for a worker."""
        if run_id in self._running:
            self._last_activity_s[run_id] = time.monotonic()

    def newly_stalled(self, run_id: str, stall_s: float) -> bool:
        """Whether a trial has just stalled: no report for `stall_s`. True only once per trial."""
        if run_id not in self._running or run_id in self._stalled:
            return False
        if time.monotonic() - self._last_activity_s[run_id] < stall_s:
            return False
        self._stalled[run_id] = f"stalled: no report for {stall_s / 60:g} minutes"
        return True

    def reply(self, run_id: str, message: ProgressReport | TrialEnded) -> Decision | bytes | None:
        """The reply to a worker's message that bypassed Ray.

        To a report, the decision. To the end of a trial, the next one, pickled as by `ask`, or None
        if the process is to stop: Tune may reuse it.
        """
        if isinstance(message, ProgressReport):
            return self.report(run_id, message)
        before = self._running.get(run_id)
        if before is None:
            return None  # a late message of a process that was counted as lost
        is_free = not message.discard_process and run_id not in self._stalled
        self.end(run_id, message)
        # A trial that waits for a worker may need this process.
        if not is_free or self.error is not None or self.n_waiting or not self.has_room():
            return None
        try:
            spec = None if self.is_done() else self._next()
        except Exception as error:
            self.error = error
            return None
        if spec is not None and spec.resources != before.resources:
            self._postponed, spec = spec, None
        return None if spec is None else self._begin(run_id, spec)

    def report(self, run_id: str, message: ProgressReport) -> Decision:
        self._n_failed_starts = 0
        if run_id not in self._running:
            return Decision.STOP  # a late message of a process that was counted as lost
        self.record_activity(run_id)
        trial_id = self._running[run_id].trial_id
        try:
            return self._trials.report(trial_id, message.step, message.metrics)
        except Exception as error:
            self.error = error
            return Decision.STOP

    def end(self, run_id: str, message: TrialEnded) -> None:
        self._n_failed_starts = 0
        try:
            outcome: Outcome = pickle.loads(message.outcome)
        except Exception as error:  # its value is of a type that this process cannot import
            outcome = failed_outcome(error)
        self._tell(run_id, outcome)

    def lose(self, run_id: str, error: BaseException) -> None:
        """Ends a trial whose process was lost as FAILED, unless the trial had ended before."""
        if run_id not in self._running:
            return
        lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
        kind = Failure.LOST
        if run_id in self._stalled:
            kind, reason = Failure.STALLED, self._stalled[run_id]
        elif getattr(error, "actor_init_failed", False):
            reason = f"worker lost: it could not start: {lines[-1]}"
            self._n_failed_starts += 1
        else:
            if ran_out_of_memory(error):  # Ray killed it before the machine ran out
                kind = Failure.OUT_OF_MEMORY
            causes = [line for line in lines if "dead because" in line]
            cause = (causes or lines or [type(error).__name__])[0]
            reason = f"{kind.value}: {cause.partition('. ')[0].removesuffix('.')}"
        self._tell(run_id, Outcome(End.FAILED, None, reason, str(error), kind))
        if self._n_failed_starts >= MAX_FAILED_STARTS and self.error is None:
            self.error = ClusterError(
                f"{self._n_failed_starts} workers in a row could not start; {reason}; "
                f"see whether it works in this process: --cluster.address none"
            )

    def _next(self) -> TrialSpec | None:
        specs = [self._postponed] if self._postponed is not None else self._trials.ask(1)
        self._postponed = None
        if not specs:
            self._none_available = bool(self._running)  # until one of them has ended
            return None
        return specs[0]

    def _begin(self, run_id: str, spec: TrialSpec) -> bytes:
        self._running[run_id] = spec
        self.record_activity(run_id)
        return pickle_value((run_id, spec))

    def _tell(self, run_id: str, outcome: Outcome) -> None:
        self._none_available = False
        del self._last_activity_s[run_id]
        self._stalled.pop(run_id, None)
        try:
            self._trials.tell(self._running.pop(run_id).trial_id, outcome)
        except Exception as error:
            self.error = error
