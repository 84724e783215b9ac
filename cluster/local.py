"""Runs trials in this process, one after the other: the runner for tests and for pdb.

It stands where `cluster.tune.runner` stands, behaves like it towards `Trials` and the work
function, and needs no Ray.
"""

import bdb
import time
from collections.abc import Mapping

from chorale.cluster.base import Decision, End, Outcome, Trials, TrialSpec, Work
from chorale.cluster.failures import failure

PATIENCE_S = 0.1
"""How long to wait before asking again, where nothing runs, nothing is to be tried now, and yet the
trials are not done."""


class LocalRunner:
    """A `Runner` without workers: a breakpoint in the work function stops right there.

    So there is none to lose, none that stalls, and no fresh process after one ran out of memory.
    """

    def run(self, trials: Trials, work: Work) -> None:
        """Runs what `trials` asks for, one trial at a time, until it is done.

        A trial that raises is told as FAILED and the run goes on.

        Raises:
            KeyboardInterrupt, bdb.BdbQuit: the person at the keyboard stopped the run; the trial
                that was running is not told.
            Exception: whatever `trials` itself raised; the trial that was running is not told.
        """
        while not trials.done():
            specs = trials.ask(1)
            for spec in specs:
                trials.tell(spec.trial_id, _Attempt(trials, spec).run(work))
            if not specs:
                time.sleep(PATIENCE_S)


class _Attempt:
    """One trial on its way: passes its reports on and remembers what became of them."""

    def __init__(self, trials: Trials, spec: TrialSpec) -> None:
        self._trials = trials
        self._spec = spec
        self._decision = Decision.CONTINUE
        self._error: BaseException | None = None

    def run(self, work: Work) -> Outcome:
        try:
            value = work(self._spec, self._report)
            end = End.STOPPED if self._decision is Decision.STOP else End.FINISHED
            outcome = Outcome(end, value)
        except (KeyboardInterrupt, bdb.BdbQuit):
            raise
        except (Exception, SystemExit) as error:
            # Lightning answers Ctrl-C with exit(1): that is no failure of the trial.
            if isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from error
            outcome = failure(error)
        if self._error is not None:
            raise self._error
        return outcome

    def _report(self, step: int, metrics: Mapping[str, float]) -> Decision:
        # What `trials` raises is no failure of this trial, even if the work function catches it.
        if self._error is not None:
            raise self._error
        if self._decision is Decision.CONTINUE:
            try:
                self._decision = self._trials.report(self._spec.trial_id, step, dict(metrics))
            except BaseException as error:
                self._error = error
                raise
        return self._decision
