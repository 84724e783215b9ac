"""Retries of failed training runs within a session: which failures are retried, and how.

Both stages of a sweep use this when a runner reports a failure. A retry is the same run under the
same number: it uses no budget of trials and has one row.
"""

from collections import Counter
from dataclasses import replace
from typing import Any

from chorale.cluster.base import Failure, Outcome
from chorale.search.training.trial_plan import TrialPlan

MAX_LOST_RETRIES = 3
"""A run is resumed from its saved state at most this often after its worker was lost or stalled."""

N_SLICES = 2
"""After out of memory a run is retried once, with each batch in this many slices."""


class Retries:
    """The retries of this session, by the number of the run."""

    def __init__(self) -> None:
        self._n_lost: Counter[int] = Counter()
        self._n_preempted: Counter[int] = Counter()
        self._too_large: set[int] = set()

    def again(self, number: int, outcome: Outcome) -> bool:
        """Whether to retry a run that ended with this outcome; counts the retry."""
        if outcome.failure is Failure.PREEMPTED:  # no failure of the trial, however often
            self._n_preempted[number] += 1
            return True
        if outcome.failure in (Failure.LOST, Failure.STALLED):
            self._n_lost[number] += 1
            return self._n_lost[number] <= MAX_LOST_RETRIES
        if outcome.failure is Failure.OUT_OF_MEMORY and number not in self._too_large:
            self._too_large.add(number)
            return True
        return False

    def plan(self, number: int, plan: TrialPlan) -> TrialPlan:
        """`plan`, with sliced batches if the run was out of memory before."""
        return replace(plan, n_slices=N_SLICES) if number in self._too_large else plan

    def facts(self, number: int) -> dict[str, Any]:
        """JSON-ready facts for the ledger; empty for a run without retries."""
        found: dict[str, Any] = {}
        if self._n_lost[number]:
            found["n_lost"] = self._n_lost[number]
        if self._n_preempted[number]:
            found["n_preempted"] = self._n_preempted[number]
        if number in self._too_large:
            found["n_slices"] = N_SLICES
        return found
