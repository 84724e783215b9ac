"""One trial in the process that trains it: runs the work function, passes its reports on.

`cluster.tune.worker` does it in a thread of a Ray worker, `cluster.local_workers.child` in a
process of its own.
"""

import os
import sys
from collections.abc import Callable, Mapping

from chorale.cluster.base import Decision, End, Outcome, TrialSpec, Work
from chorale.cluster.environment import threads
from chorale.cluster.failures import failure, spoils
from chorale.cluster.messages import Ended, Said
from chorale.cluster.pickling import pickled


def attempt(work: Work, spec: TrialSpec, ask: Callable[[Said], Decision]) -> Ended:
    """Runs one trial to its end, whatever that is; `ask` passes a report on and waits."""
    decision = Decision.CONTINUE

    def report(step: int, metrics: Mapping[str, float]) -> Decision:
        nonlocal decision
        if decision is Decision.CONTINUE:
            decision = ask(Said(step, dict(metrics)))
        return decision

    try:
        value = work(spec, report)
        end = End.STOPPED if decision is Decision.STOP else End.FINISHED
        return Ended(pickled(Outcome(end, value)), spoilt=False)
    except BaseException as error:  # whatever it is, the driver waits for an answer
        return Ended(pickled(failure(error)), spoilt=spoils(error))


def use_threads(n_threads: int) -> None:
    """Sets how many threads this process computes with, be torch imported already or not."""
    os.environ.update(threads(n_threads))
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(n_threads)
