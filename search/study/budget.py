"""What a search has spent and what is left: trials, minutes, core-hours, GPU-hours.

The study asks whether it may go on, the progress display when it will end. Whichever limit comes
first counts. Time that the finalists will need is set aside.
"""

import time
from collections.abc import Callable, Iterable

from chorale.cluster.base import Resources
from chorale.search.config.schema import Budget
from chorale.search.ledger.ledger import Row

HOUR_S = 3600.0


class Meter:
    """The meter of one search stage.

    Args:
        budget: the limits.
        resources: what one trial takes.
        n_at_once: how many trials run at the same time.
        n_finals: how many retrainings will follow the search.
        wall_s: the wall time that the study has spent by now, in all sittings, in seconds.
        clock: seconds since whenever.
    """

    def __init__(
        self,
        budget: Budget,
        *,
        resources: Resources = Resources(),  # noqa: B008
        n_at_once: int = 1,
        n_finals: int = 0,
        wall_s: Callable[[], float] = lambda: 0.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.budget = budget
        self.n_trials = budget.trials
        """the most trials; a study whose grid is smaller lowers it"""
        self._resources, self._n_at_once, self._n_finals = resources, n_at_once, n_finals
        self._wall_s, self._clock = wall_s, clock
        self._began: dict[int, float] = {}
        self._ended_s: list[float] = []
        self._complete_s: list[float] = []
        self._lost_s = 0.0

    def restore(self, rows: Iterable[Row], *, lost_s: float = 0.0) -> None:
        """Counts what earlier sittings spent, `lost_s` of it on attempts that came to nothing."""
        self._lost_s += lost_s
        for row in rows:
            self._count(row.state, float(row.facts.get("elapsed_s", 0.0)))

    def start(self, number: int) -> None:
        """A trial begins."""
        self._began[number] = self._clock()

    def lost(self, number: int) -> float:
        """An attempt at a trial came to nothing, and there will be another; gives its seconds."""
        elapsed_s = self._clock() - self._began.pop(number)
        self._lost_s += elapsed_s
        return elapsed_s

    def end(self, number: int, state: str) -> float:
        """A trial has ended; gives the seconds that its last attempt took."""
        elapsed_s = self._clock() - self._began.pop(number)
        self._count(state, elapsed_s)
        return elapsed_s

    def time_left_s(self) -> float:
        """For how long trials may still run, in seconds; infinite without such a limit."""
        return min(left_s for _, left_s in self._limits())

    def spent_limit(self) -> str | None:
        """The limit on time that is used up: "budget.minutes"; None while there is time."""
        return next((name for name, left_s in self._limits() if left_s <= 0), None)

    def forecast_s(self) -> float | None:
        """In how many seconds the search will end, whichever limit ends it; None: not known yet."""
        if not self._ended_s:
            left_s = self.time_left_s()
            return left_s if left_s < float("inf") else None
        n_left = max(0, self.n_trials - len(self._ended_s))
        mean_s = sum(self._ended_s) / len(self._ended_s)
        running_s = sum(self._clock() - began for began in self._began.values())
        trials_s = max(0.0, n_left * mean_s - running_s) / self._n_at_once
        return max(0.0, min(trials_s, self.time_left_s()))

    def notes(self) -> list[str]:
        """What a person should know of the limits."""
        if self.budget.gpu_hours is not None and not self._resources.gpus:
            return ["budget.gpu_hours: trials use no GPU here, so it limits nothing"]
        return []

    def _limits(self) -> list[tuple[str, float]]:
        """Each limit on time with the wall seconds that it leaves."""
        budget, width = self.budget, self._n_at_once
        mean_s = sum(self._complete_s) / len(self._complete_s) if self._complete_s else 0.0
        finals_s = self._n_finals * mean_s
        running_s = sum(self._clock() - began for began in self._began.values())
        worker_s = sum(self._ended_s) + self._lost_s + running_s + finals_s
        found = [("", float("inf"))]
        if budget.minutes is not None:
            left_s = budget.minutes * 60 - self._wall_s() - finals_s / width
            found.append(("budget.minutes", left_s))
        if budget.core_hours is not None:
            left_s = budget.core_hours * HOUR_S / self._resources.cpus - worker_s
            found.append(("budget.core_hours", left_s / width))
        if budget.gpu_hours is not None and self._resources.gpus:
            left_s = budget.gpu_hours * HOUR_S / self._resources.gpus - worker_s
            found.append(("budget.gpu_hours", left_s / width))
        return found

    def _count(self, state: str, elapsed_s: float) -> None:
        self._ended_s.append(elapsed_s)
        if state == "COMPLETE":
            self._complete_s.append(elapsed_s)
