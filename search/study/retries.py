"""Which failed training runs are tried again in the same sitting, and how.

Both stages of a sweep ask here when a runner tells them of a failure. Trying again is the same run
under the same number: it costs no budget and leaves one row.
"""

from collections import Counter
from dataclasses import replace
from typing import Any

from chorale.cluster.base import Failure, Outcome
from chorale.search.training.run_trial import TrialPlan

N_LOST = 3
"""So often a run goes on from its saved state after its worker was lost or stalled."""

N_SLICES = 2
"""A batch that did not fit into memory is tried once in so many parts."""


class Retries:
    """What was tried again in this sitting, by the number of the run."""

    def __init__(self) -> None:
        self._n_lost: Counter[int] = Counter()
        self._too_large: set[int] = set()

    def again(self, number: int, outcome: Outcome) -> bool:
        """Whether a run that ended so is to be tried again; counts it if it is."""
        if outcome.failure in (Failure.LOST, Failure.STALLED):
            self._n_lost[number] += 1
            return self._n_lost[number] <= N_LOST
        if outcome.failure is Failure.OUT_OF_MEMORY and number not in self._too_large:
            self._too_large.add(number)
            return True
        return False

    def plan(self, number: int, plan: TrialPlan) -> TrialPlan:
        """`plan`, in smaller parts if the run was out of memory before."""
        return replace(plan, n_slices=N_SLICES) if number in self._too_large else plan

    def facts(self, number: int) -> dict[str, Any]:
        """What the ledger keeps of it, JSON-ready; nothing for a run that went well at once."""
        found: dict[str, Any] = {}
        if self._n_lost[number]:
            found["n_lost"] = self._n_lost[number]
        if number in self._too_large:
            found["n_slices"] = N_SLICES
        return found
