"""In-process runner: runs trials one after another in this process, for tests and debuggers.

It behaves like `cluster.tune.runner` towards `Trials` and the work function, and needs no Ray.
"""

import bdb
import time
from collections.abc import Mapping

from chorale.cluster.base import Decision, End, Outcome, Trials, TrialSpec, Work
from chorale.cluster.failures import failed_outcome

POLL_INTERVAL_S = 0.1
"""How long to wait before asking again while no trial is available and the trials are not done."""


class LocalRunner:
    """A `Runner` without worker processes: breakpoints in the work function work.

    So no worker can be lost or killed when it stalls, and running out of memory starts no new one.
    """

    def run(self, trials: Trials, work: Work) -> None:
        """Runs one trial at a time until `trials` is done.

        A trial that raises gets the outcome FAILED and the run goes on.

        Raises:
            KeyboardInterrupt, bdb.BdbQuit: the user stopped the run; the running trial gets no
                outcome.
            Exception: whatever `trials` itself raised; the running trial gets no outcome.
        """
        while not trials.done():
            specs = trials.ask(1)
            for spec in specs:
                trials.tell(spec.trial_id, _Attempt(trials, spec).run(work))
            if not specs:
                time.sleep(POLL_INTERVAL_S)


class _Attempt:
    """One running trial: passes its reports on, keeps the decision or an error of `trials`."""

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
            # Lightning exits with status 1 on Ctrl-C: that is no failure of the trial.
            if isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from error
            outcome = failed_outcome(error)
        if self._error is not None:
            raise self._error
        return outcome

    def _report(self, step: int, metrics: Mapping[str, float]) -> Decision:
        # An error of `trials` is no failure of this trial, even if the work function catches it.
        if self._error is not None:
            raise self._error
        if self._decision is Decision.CONTINUE:
            try:
                self._decision = self._trials.report(self._spec.trial_id, step, dict(metrics))
            except BaseException as error:
                self._error = error
                raise
        return self._decision
