"""Between those who run trials and `Trials`: which trial runs under which name, what is said of it.

Searcher, scheduler and controller of `cluster.tune.controller` share one, where the names are
Tune's; `cluster.local_workers.runner` has one of its own. Where reports go past Ray (see
`cluster.local_workers.report_socket`), the next trial does too: one of Tune's is then a series of
ours, in one process.
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
from chorale.cluster.failures import failure, ran_out_of_memory
from chorale.cluster.messages import Ended, Said
from chorale.cluster.pickling import pickled

MAX_FAILED_STARTS = 3
"""So many workers in a row that fail to start end the run."""


class Bridge:
    """What searcher and scheduler share: the trials, and which of them runs under which Tune id."""

    def __init__(self, trials: Trials, *, n_at_once: int) -> None:
        self.n_at_once = n_at_once
        self.n_waiting = 0
        """how many trials have no place yet"""
        self.n_may_wait = n_at_once
        self.sizes: set[Resources] = set()
        """what trials took that said so themselves"""
        self.error: Exception | None = None
        """Tune would log an error raised in a callback and go on; kept here, it ends the run."""
        self._trials = trials
        self._running: dict[str, TrialSpec] = {}
        self._heard_s: dict[str, float] = {}
        self._stalled: dict[str, str] = {}
        self._left_over: TrialSpec | None = None
        """was asked for a process that it does not fit"""
        self._nothing_now = False
        self._n_failed_starts = 0

    def has_place(self) -> bool:
        """Whether it makes sense to ask for a trial now; this is looked at ten times a second."""
        if self.sizes and self.n_waiting >= self.n_may_wait:
            return False  # whether one more has room is seen when these have found theirs
        return len(self._running) < self.n_at_once and not self._nothing_now

    def is_done(self) -> bool:
        return self._left_over is None and self._trials.done()

    def ask(self, tune_id: str) -> bytes | None:
        """The next trial, pickled with its Tune id; None where there is none now."""
        spec = self._next()
        if spec is None:
            return None
        self.n_waiting += 1
        if spec.resources is not None:
            self.sizes.add(spec.resources)
        return self._begin(tune_id, spec)

    def resources(self, tune_id: str) -> Resources | None:
        """What a trial takes, where it said so itself."""
        return self._running[tune_id].resources

    def hear(self, tune_id: str) -> None:
        """A trial gives a sign of life, or waits for a place and cannot give one."""
        if tune_id in self._running:
            self._heard_s[tune_id] = time.monotonic()

    def stalls(self, tune_id: str, stall_s: float) -> bool:
        """Whether a trial has been silent for so long; said once, as it will be lost then."""
        if tune_id not in self._running or tune_id in self._stalled:
            return False
        if time.monotonic() - self._heard_s[tune_id] < stall_s:
            return False
        self._stalled[tune_id] = f"stalled: no report for {stall_s / 60:g} minutes"
        return True

    def answer(self, tune_id: str, message: Said | Ended) -> Decision | bytes | None:
        """Hears what a process says past Ray; answers what to do.

        At the end of a trial that is another one, pickled as by `ask`, or None: Tune may have the
        process.
        """
        if isinstance(message, Said):
            return self.report(tune_id, message)
        before = self._running.get(tune_id)
        if before is None:
            return None  # its process was lost, and this was still on its way
        is_free = not message.spoilt and tune_id not in self._stalled
        self.end(tune_id, message)
        # Who waits for a place may need this one.
        if not is_free or self.error is not None or self.n_waiting or not self.has_place():
            return None
        try:
            spec = None if self.is_done() else self._next()
        except Exception as error:
            self.error = error
            return None
        if spec is not None and spec.resources != before.resources:
            self._left_over, spec = spec, None
        return None if spec is None else self._begin(tune_id, spec)

    def report(self, tune_id: str, said: Said) -> Decision:
        self._n_failed_starts = 0
        if tune_id not in self._running:
            return Decision.STOP  # its process was lost, and this was still on its way
        self.hear(tune_id)
        try:
            return self._trials.report(self._running[tune_id].trial_id, said.step, said.metrics)
        except Exception as error:
            self.error = error
            return Decision.STOP

    def end(self, tune_id: str, ended: Ended) -> None:
        self._n_failed_starts = 0
        try:
            outcome: Outcome = pickle.loads(ended.outcome)
        except Exception as error:  # its value is of a type that this process does not know
            outcome = failure(error)
        self._tell(tune_id, outcome)

    def lose(self, tune_id: str, error: BaseException) -> None:
        """Tells that a trial's process is gone, unless the trial had ended before."""
        if tune_id not in self._running:
            return
        lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
        kind = Failure.LOST
        if tune_id in self._stalled:
            kind, reason = Failure.STALLED, self._stalled[tune_id]
        elif getattr(error, "actor_init_failed", False):
            reason = f"worker lost: it could not start: {lines[-1]}"
            self._n_failed_starts += 1
        else:
            if ran_out_of_memory(error):  # Ray ended it, before the machine would have
                kind = Failure.OUT_OF_MEMORY
            causes = [line for line in lines if "dead because" in line]
            cause = (causes or lines or [type(error).__name__])[0]
            reason = f"{kind.value}: {cause.partition('. ')[0].removesuffix('.')}"
        self._tell(tune_id, Outcome(End.FAILED, None, reason, str(error), kind))
        if self._n_failed_starts >= MAX_FAILED_STARTS and self.error is None:
            self.error = ClusterError(
                f"{self._n_failed_starts} workers in a row could not start; {reason}; "
                f"see whether it works in this process: --cluster.address none"
            )

    def _next(self) -> TrialSpec | None:
        specs = [self._left_over] if self._left_over is not None else self._trials.ask(1)
        self._left_over = None
        if not specs:
            self._nothing_now = bool(self._running)  # until one of them has ended
            return None
        return specs[0]

    def _begin(self, tune_id: str, spec: TrialSpec) -> bytes:
        self._running[tune_id] = spec
        self.hear(tune_id)
        return pickled((tune_id, spec))

    def _tell(self, tune_id: str, outcome: Outcome) -> None:
        self._nothing_now = False
        del self._heard_s[tune_id]
        self._stalled.pop(tune_id, None)
        try:
            self._trials.tell(self._running.pop(tune_id).trial_id, outcome)
        except Exception as error:
            self.error = error
