"""The work function of the Chorale arm: `run_trial`, and events that time it.

Workers import this file; it imports no more than a sweep's own workers do.
"""

from chorale.cluster.base import Decision, Report, TrialSpec
from chorale.search.training.model_cost import Refusal
from chorale.search.training.run_trial import run_trial
from chorale.search.training.trial_plan import TrialResult
from tests.benchmarks.engines.events import Events


def timed_trial(spec: TrialSpec, report: Report, *, events: Events) -> TrialResult | Refusal:
    """Runs a trial and records its begin, the accuracy of each epoch, and its end."""
    events.record(spec.trial_id, "begin")

    def report_epoch(step: int, metrics: dict[str, float]) -> Decision:
        events.record(spec.trial_id, "epoch", accuracy=metrics["accuracy"])
        return report(step, metrics)

    result = run_trial(spec, report_epoch)  # type: ignore[arg-type]
    if isinstance(result, TrialResult):
        events.record(spec.trial_id, "end", steps_s=result.train_s + result.valid_s)
    return result
