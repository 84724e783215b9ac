"""Says with each training run which folders it reads and writes, so that it can run anywhere.

`Placed` stands between a stage's trials and the runner; what travels is up to
`cluster.transfer.folders`.
"""

from dataclasses import replace

from chorale.cluster.base import Trials, TrialSpec


class Placed:
    """`Trials` that say where each one's files are; all else is up to the trials inside."""

    def __init__(self, trials: Trials) -> None:
        self._trials = trials
        self.done, self.report, self.tell = trials.done, trials.report, trials.tell

    def ask(self, n: int) -> list[TrialSpec]:
        """The next trials: the features that each reads, and the folder that it leaves files in."""
        specs = self._trials.ask(n)
        plans = [spec.payload["plan"] for spec in specs]
        return [
            replace(spec, reads=plan.reads, writes=(plan.folder,))
            for spec, plan in zip(specs, plans, strict=True)
        ]
