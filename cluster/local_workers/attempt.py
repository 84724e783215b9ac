"""One attempt at a trial in the worker process: runs the work function, passes its reports on.

`cluster.tune.worker` calls it in a thread of a Ray worker, `cluster.local_workers.child` in a
forked process.
"""

import os
import sys
from collections.abc import Callable, Mapping

from chorale.cluster import preemption
from chorale.cluster.base import Decision, End, Outcome, TrialSpec, Work
from chorale.cluster.environment import thread_variables
from chorale.cluster.failures import failed_outcome, requires_new_process
from chorale.cluster.messages import ProgressReport, TrialEnded
from chorale.cluster.pickling import pickle_value


def attempt(work: Work, spec: TrialSpec, send: Callable[[ProgressReport], Decision]) -> TrialEnded:
    """Runs one trial until it ends in any way; `send` sends a report and waits for the decision."""
    decision = Decision.CONTINUE

    def report(step: int, metrics: Mapping[str, float]) -> Decision:
        nonlocal decision
        if decision is Decision.CONTINUE:
            decision = send(ProgressReport(step, dict(metrics)))
        return decision

    must_end = False
    try:
        with preemption.working():
            value = work(spec, report)
        outcome = Outcome(End.STOPPED if decision is Decision.STOP else End.FINISHED, value)
    except BaseException as error:  # of any type: the driver waits for an outcome
        outcome, must_end = failed_outcome(error), requires_new_process(error)
    return TrialEnded(pickle_value(outcome), discard_process=must_end or preemption.is_requested())


def use_threads(n_threads: int) -> None:
    """Sets the number of compute threads of this process, whether torch is imported yet or not."""
    os.environ.update(thread_variables(n_threads))
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(n_threads)
