"""What a worker of the Chorale arm does; the file imports no more than a sweep's own worker does.

`arm_chorale` sends it to them.
"""

from chorale.cluster.base import Decision, Report, TrialSpec
from chorale.search.training.run_trial import TrialResult, run_trial
from tests.benchmarks.engines.events import Events


def told(spec: TrialSpec, report: Report, *, events: Events) -> TrialResult:
    """`run_trial`, which also tells when it began, what each epoch brought, and when it ended."""
    events.tell(spec.trial_id, "begin")

    def reporting(step: int, metrics: dict[str, float]) -> Decision:
        events.tell(spec.trial_id, "epoch", accuracy=metrics["accuracy"])
        return report(step, metrics)

    result = run_trial(spec, reporting)  # type: ignore[arg-type]
    events.tell(spec.trial_id, "end", steps_s=result.train_s + result.valid_s)
    return result
