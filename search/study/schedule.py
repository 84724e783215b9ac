"""The schedule of a sweep with `budget.minutes`: what each stage may spend of the wall time.

Baselines come first, as they are cheap and a model in themselves. What is left is shared by the
search and the cross-validation of its finalists; some is kept for the ensembles and the report.
Every stage asks how much is left when it needs to know, so a slow one shortens those after it.
"""

from collections.abc import Callable
from dataclasses import dataclass

BASELINES_SHARE = 0.15
"""The largest share of the time left that the baselines take before the search."""

FINALISTS_SHARE = 0.5
"""The largest share of the time left when the search begins that is reserved for the finalists."""

COMPETITIVE_SHARE = 0.75
"""A trial is near the best one, and its architecture a candidate, from this share of the best score
on."""

RETRAINING_FACTOR = 1.1
"""The time of a finalist's retraining, relative to its trial: it also predicts the test tracks."""

EVALUATION_S = 5.0
"""Seconds that ensembles and report take on little data, with a margin."""

EVALUATION_S_PER_VALUE = 3e-5
"""Further seconds for each development track and class: ensembles are fitted on their product."""

FUSION_SHARE = 0.1
"""The largest share of the time that is kept for the fusion network, which takes far longer than
the other kinds; where it needs more, it is fitted only if time is left."""

MAX_SLOWDOWN = 5.0
"""More than that is not expected of what follows, whatever was measured of the baselines."""


@dataclass(frozen=True)
class Schedule:
    """The wall time of a sweep, in seconds.

    Args:
        limit_s: of the whole sweep; infinite without `budget.minutes`.
        evaluation_s: kept for the ensembles and the report.
        wall_s: returns what has been spent so far, in all sessions.
        slowdown: returns how much longer things take, as other programs use the processor.
    """

    limit_s: float = float("inf")
    evaluation_s: float = 0.0
    wall_s: Callable[[], float] = lambda: 0.0
    slowdown: Callable[[], float] = lambda: 1.0

    @classmethod
    def of(
        cls,
        minutes: float | None,
        *,
        n_rows: int,
        n_classes: int,
        wall_s: Callable[[], float],
        slowdown: Callable[[], float] = lambda: 1.0,
    ) -> "Schedule":
        """The schedule for `n_rows` development tracks; `minutes` None: no limit."""
        if minutes is None:
            return cls(wall_s=wall_s)
        evaluation_s = EVALUATION_S + EVALUATION_S_PER_VALUE * n_rows * n_classes
        of_fusion_s = fusion_s(n_rows, n_classes)
        if of_fusion_s <= FUSION_SHARE * 60 * minutes:
            evaluation_s += of_fusion_s
        return cls(60 * minutes, evaluation_s, wall_s, slowdown)

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit."""
        return self.limit_s < float("inf")

    def left_s(self) -> float:
        """The seconds left for training; negative where the time for the evaluation is used."""
        return self.limit_s - self.expected_s(self.evaluation_s) - self.wall_s()

    def expected_s(self, quiet_s: float) -> float:
        """The seconds that something takes now which takes `quiet_s` on a quiet machine."""
        return min(self.slowdown(), MAX_SLOWDOWN) * quiet_s

    def baselines_s(self) -> float:
        """The seconds that the baselines may take before the search."""
        return BASELINES_SHARE * max(0.0, self.left_s())


def fusion_s(n_rows: int, n_classes: int) -> float:
    """The seconds that a fusion network takes, with its cross-fits, on one core.

    Measured on an AVX2 processor: 2,000 rows of 10 classes 11 s, 16,000 of 10 classes 35 s, 2,000
    of 100 classes 38 s, whatever the number of members. Below 20,000 values all of them are read in
    one step; above, several steps are an epoch.
    """
    n_values = n_rows * n_classes
    return 5e-4 * min(n_values, 20_000) + 1.55e-4 * max(0, n_values - 20_000)
