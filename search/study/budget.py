"""The budget of a search: trials, minutes, core-hours and GPU-hours, spent and left.

The study uses it to stop, the progress display to forecast the end. The first limit that is reached
counts. The time that the finalists will need is reserved, at least that of the best trial's folds.
"""

import math
import time
from collections.abc import Callable, Iterable

from chorale.cluster.base import Resources
from chorale.search.config.schema import BudgetConfig
from chorale.search.ledger.ledger import Row
from chorale.search.study.schedule import (
    COMPETITIVE_SHARE,
    FINALISTS_SHARE,
    RETRAINING_FACTOR,
    Schedule,
)

HOUR_S = 3600.0


class BudgetMeter:
    """The meter of one search stage.

    Args:
        budget: the limits.
        resources: of one trial.
        n_at_once: the number of trials that run at the same time.
        n_finals: the number of finalists' retrainings after the search.
        n_folds: how many of them give one finalist.
        schedule: of the sweep's wall time.
        clock: returns monotonic seconds.
    """

    def __init__(
        self,
        budget: BudgetConfig,
        *,
        resources: Resources = Resources(),  # noqa: B008
        n_at_once: int = 1,
        n_finals: int = 0,
        n_folds: int = 1,
        schedule: Schedule = Schedule(),  # noqa: B008
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.budget = budget
        self.n_trials = budget.n_trials
        """the largest number of trials; a smaller grid lowers it"""
        self._resources, self._n_at_once, self._n_finals = resources, n_at_once, n_finals
        self._n_folds, self._schedule, self._clock = n_folds, schedule, clock
        self._reserved_s = FINALISTS_SHARE * max(0.0, schedule.left_s())
        self._began: dict[int, float] = {}
        self._ended_s: list[float] = []
        self._complete: list[tuple[float, float]] = []
        """score and seconds of each complete trial"""
        self._lost_s = 0.0

    def restore(self, rows: Iterable[Row], objective: str, *, lost_s: float = 0.0) -> None:
        """Adds the time spent in earlier sessions; `lost_s` is that of lost attempts."""
        self._lost_s += lost_s
        for row in rows:
            score = row.facts.get("metrics", {}).get(objective, -math.inf)
            self._count(row.state, float(row.facts.get("elapsed_s", 0.0)), float(score))

    def start(self, number: int) -> None:
        """Starts the clock of a trial's attempt."""
        self._began[number] = self._clock()

    def lost(self, number: int) -> float:
        """Counts a lost attempt at a trial that will be retried; returns its seconds."""
        elapsed_s = self._clock() - self._began.pop(number)
        self._lost_s += elapsed_s
        return elapsed_s

    def end(self, number: int, state: str, score: float = -math.inf) -> float:
        """Counts a trial that has ended; returns the seconds of its last attempt.

        `score` is its objective, where it has one; higher is better.
        """
        elapsed_s = self._clock() - self._began.pop(number)
        self._count(state, elapsed_s, score)
        return elapsed_s

    def running_s(self, number: int) -> float:
        """The seconds since a trial's attempt was started."""
        return self._clock() - self._began[number]

    def time_left_s(self) -> float:
        """The time that is left for trials, in seconds; infinite without a limit on time."""
        return min(left_s for _, left_s in self._limits())

    def spent_limit(self) -> str | None:
        """The limit on time that is used up, such as "budget.minutes"; None while time is left."""
        return next((name for name, left_s in self._limits() if left_s <= 0), None)

    def forecast_s(self) -> float | None:
        """The seconds until the search will end, by whichever limit; None if not known yet."""
        if not self._ended_s:
            left_s = self.time_left_s()
            return left_s if left_s < float("inf") else None
        n_left = max(0, self.n_trials - len(self._ended_s))
        mean_s = sum(self._ended_s) / len(self._ended_s)
        trials_s = max(0.0, n_left * mean_s - self._running_s()) / self._n_at_once
        return max(0.0, min(trials_s, self.time_left_s()))

    def notes(self) -> list[str]:
        """Lines for the user about the limits."""
        if self.budget.gpu_hours is not None and not self._resources.gpus:
            return ["budget.gpu_hours: trials use no GPU here, so it limits nothing"]
        return []

    def _limits(self) -> list[tuple[str, float]]:
        """Each limit on time, with the wall seconds that it leaves."""
        budget, width = self.budget, self._n_at_once
        total_s = sum(elapsed_s for _, elapsed_s in self._complete)
        finals_s = self._n_finals * total_s / max(1, len(self._complete))
        worker_s = sum(self._ended_s) + self._lost_s + self._running_s() + finals_s
        found = [("", float("inf"))]
        if self._schedule.is_limited:
            left_s = self._schedule.left_s() - self._finalists_s()
            found.append(("budget.minutes", left_s))
        if budget.core_hours is not None:
            left_s = budget.core_hours * HOUR_S / self._resources.cpus - worker_s
            found.append(("budget.core_hours", left_s / width))
        if budget.gpu_hours is not None and self._resources.gpus:
            left_s = budget.gpu_hours * HOUR_S / self._resources.gpus - worker_s
            found.append(("budget.gpu_hours", left_s / width))
        return found

    def _running_s(self) -> float:
        """The seconds of all running attempts so far; a display's thread may ask for them."""
        return sum(self._clock() - began for began in tuple(self._began.values()))

    def _finalists_s(self) -> float:
        """The wall seconds reserved for the finalists.

        That is for the trials so far that are near the best, but no more than the finalists' share
        of the time, and enough for the best one with all its epochs: a search that goes on would
        take them from it.
        """
        if not self._n_finals:
            return 0.0
        if not self._complete:
            return self._reserved_s
        best, best_s = max(self._complete, key=lambda one: one[0])
        near_s = [s for score, s in self._complete if score >= COMPETITIVE_SHARE * best]
        n_finals = min(self._n_finals, self._n_folds * len(near_s))
        every_s = n_finals * sum(near_s) / len(near_s) / self._n_at_once
        n_rounds = math.ceil(self._n_folds / self._n_at_once)
        return max(min(every_s, self._reserved_s), RETRAINING_FACTOR * n_rounds * best_s)

    def _count(self, state: str, elapsed_s: float, score: float) -> None:
        self._ended_s.append(elapsed_s)
        if state == "COMPLETE":
            self._complete.append((score, elapsed_s))
