"""Reports a stage's training runs to the monitor: starts, epochs and ends.

`Metered` wraps a stage's trials, outermost, so it sees the resources that each run gets.
"""

from collections.abc import Mapping

from chorale.cluster.base import Decision, Outcome, Trials, TrialSpec
from chorale.search.monitoring.monitor import SweepMonitor


class Metered:
    """A `Trials` wrapper that changes nothing."""

    def __init__(self, trials: Trials, monitor: SweepMonitor) -> None:
        self._trials, self._monitor = trials, monitor
        self.done = trials.done

    def ask(self, n: int) -> list[TrialSpec]:
        """The next trials."""
        specs = self._trials.ask(n)
        for spec in specs:
            resources = spec.resources or self._monitor.resources
            architecture = spec.payload["plan"].architecture
            self._monitor.started(spec.trial_id, architecture, resources)
        return specs

    def report(self, trial_id: int, step: int, metrics: Mapping[str, float]) -> Decision:
        """Passes an epoch's report on."""
        self._monitor.epoch_ended(trial_id, step)
        return self._trials.report(trial_id, step, metrics)

    def tell(self, trial_id: int, outcome: Outcome) -> None:
        """Passes a trial's end on."""
        self._trials.tell(trial_id, outcome)
        self._monitor.ended(trial_id)
