"""Adds to each training run the folders that it reads and writes, so that any node can run it.

`Placed` wraps a stage's trials; `cluster.transfer.folders` copies the folders.
"""

from dataclasses import replace

from chorale.cluster.base import Trials, TrialSpec


class Placed:
    """A `Trials` wrapper that adds each trial's folders; all else is passed through."""

    def __init__(self, trials: Trials) -> None:
        self._trials = trials
        self.done, self.report, self.tell = trials.done, trials.report, trials.tell

    def ask(self, n: int) -> list[TrialSpec]:
        """The next trials, with the feature folders that each reads and the one that it writes."""
        specs = self._trials.ask(n)
        plans = [spec.payload["plan"] for spec in specs]
        return [
            replace(spec, input_folders=plan.reads, output_folders=(plan.folder,))
            for spec, plan in zip(specs, plans, strict=True)
        ]
