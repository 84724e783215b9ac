"""What is measured of a running sweep: training runs, epochs, stages, budget, ledger commits.

The sweep's thread updates it; the ledger reports to it what it has committed. Other threads read
copies, as `search.monitoring.collector` does, and never touch the ledger.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chorale.cluster.base import Resources
from chorale.search.ledger.stages import ATTEMPTS, FINALISTS, SEARCH
from chorale.search.monitoring.histogram import DurationHistogram

if TYPE_CHECKING:
    from chorale.search.config.schema import BudgetConfig
    from chorale.search.ledger.reader import Row

STAGES = ("data", "forecast", "baselines", SEARCH, FINALISTS, "ensembles", "report")
"""The stages of a sweep, in order; baselines are fitted before the search and after it."""

COMMIT_BOUNDS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
HOUR_S = 3600.0

UNKNOWN = "unknown"
"""The kind of a failure, or an architecture, that the ledger does not name."""


@dataclass(frozen=True)
class EndedRun:
    """A training run, or a lost attempt at one, that the ledger has recorded.

    `elapsed_s` and `value`, the objective, are None where it has none. `failure` is the kind of a
    failure, or "".
    """

    state: str
    architecture: str
    elapsed_s: float | None
    value: float | None
    n_epochs: int
    failure: str


@dataclass(frozen=True)
class RunningTrial:
    """A training run that is running: what it uses, and since when, by `time.perf_counter`."""

    stage: str
    architecture: str
    resources: Resources
    began: float


class SweepMonitor:
    """The measured state of one sweep, from its start to its end.

    It implements `search.ledger.observer.LedgerObserver`.
    """

    def __init__(self) -> None:
        """Nothing has begun; `begin` and `attach` say what runs."""
        self.study = self.objective = ""
        self.stage = ""
        """the current stage; empty between two of them"""
        self.resources, self.n_at_once = Resources(), 0
        self.commits = {durable: DurationHistogram(COMMIT_BOUNDS_S) for durable in (True, False)}
        """the durations of ledger commits, durable and quick ones"""
        self._budget: BudgetConfig | None = None
        self._wall_s: Callable[[], float] = lambda: 0.0
        self._forecast_s: Callable[[], float | None] = lambda: None
        self._n_waiting: Callable[[], int | None] = lambda: None
        self._stage_began = 0.0
        self._stages_s: dict[str, float] = {}
        self._ended: dict[tuple[str, str], EndedRun] = {}
        self._running: dict[int, RunningTrial] = {}
        self._steps: dict[tuple[str, int], int] = {}
        self._epochs: Counter[tuple[str, str]] = Counter()

    # The sweep's thread reports what happens.

    def begin(self, study: str) -> None:
        """The sweep begins, with its data."""
        self.study = study
        self.enter("data")

    def attach(
        self,
        *,
        objective: str,
        budget: "BudgetConfig",
        resources: Resources,
        n_at_once: int,
        wall_s: Callable[[], float],
        stages_s: Mapping[str, float],
        rows: "Mapping[str, Mapping[str, Row]]",
    ) -> None:
        """The study is open.

        Args:
            objective: the name of its objective.
            budget: its limits.
            resources: of one training run.
            n_at_once: the number of training runs that run at the same time.
            wall_s: gives the wall time of all of its sessions.
            stages_s: stage -> its seconds so far, in all sessions.
            rows: stage -> the ledger's rows, from earlier sessions.
        """
        self.enter("")
        self.objective, self._budget, self._wall_s = objective, budget, wall_s
        self.resources, self.n_at_once = resources, n_at_once
        self._stages_s = dict(stages_s)
        for stage in (SEARCH, FINALISTS, ATTEMPTS):  # finalists have the architectures of trials
            for row in rows.get(stage, {}).values():
                self.recorded(stage, row)
        for (stage, _), run in self._ended.items():
            if stage != ATTEMPTS:
                self._epochs[stage, run.architecture] += run.n_epochs

    def enter(self, stage: str) -> None:
        """The current stage ends and another begins; "" for none."""
        now = time.perf_counter()
        if self.stage:
            self._stages_s[self.stage] = self.stages_s()[self.stage]
        self.stage, self._stage_began = stage, now

    @contextmanager
    def training(
        self,
        *,
        n_waiting: Callable[[], int | None],
        forecast_s: Callable[[], float | None],
    ) -> Iterator[None]:
        """In the block the current stage trains.

        `n_waiting` gives how many of its training runs have not begun, `forecast_s` the seconds
        until it ends; None where that is not known. Other threads call them.
        """
        self._n_waiting, self._forecast_s = n_waiting, forecast_s
        try:
            yield
        finally:
            self._n_waiting = self._forecast_s = lambda: None
            self._running.clear()

    def started(self, trial_id: int, architecture: str, resources: Resources) -> None:
        """An attempt at a training run of the current stage starts."""
        began = time.perf_counter()
        self._running[trial_id] = RunningTrial(self.stage, architecture, resources, began)

    def epoch_ended(self, trial_id: int, step: int) -> None:
        """A training run has ended its epoch `step`, from 1; one that is repeated counts once."""
        trial = self._running[trial_id]
        if step > self._steps.get((trial.stage, trial_id), 0):
            self._steps[trial.stage, trial_id] = step
            self._epochs[trial.stage, trial.architecture] += 1

    def ended(self, trial_id: int) -> None:
        """An attempt at a training run has ended."""
        del self._running[trial_id]

    # The ledger reports what it commits.

    def committed(self, duration_s: float, *, durable: bool) -> None:
        """A transaction was committed; any thread may call this."""
        self.commits[durable].add(duration_s)

    def recorded(self, stage: str, row: "Row") -> None:
        """A row was committed, which replaces an earlier one of the same key."""
        facts, elapsed_s = row.facts, row.facts.get("elapsed_s")
        number = row.key.removeprefix(f"{SEARCH}/").removeprefix(f"{FINALISTS}/").split("/")[0]
        searched = self._ended.get((SEARCH, number))
        known = UNKNOWN if searched is None else searched.architecture
        failure = facts.get("failure", UNKNOWN)
        self._ended[stage, row.key] = EndedRun(
            row.state,
            facts.get("architecture", known),
            None if elapsed_s is None else float(elapsed_s),
            facts.get("metrics", {}).get(self.objective),
            int(facts.get("n_epochs", 0)),
            str(failure) if row.state in ("FAIL", "LOST") else "",
        )

    # Any thread reads.

    def ended_runs(self) -> list[tuple[str, str, EndedRun]]:
        """(stage, key, run) of all that the ledger has recorded, lost attempts included."""
        return [(stage, key, run) for (stage, key), run in tuple(self._ended.items())]

    def running_trials(self) -> tuple[RunningTrial, ...]:
        """The training runs that are running."""
        return tuple(self._running.values())

    def n_begun(self, stage: str) -> int:
        """How many training runs of a stage have begun, ended ones included."""
        ended = sum(of == stage for of, _ in tuple(self._ended))
        return ended + sum(trial.stage == stage for trial in self.running_trials())

    def n_waiting(self) -> int | None:
        """How many training runs of the current stage have not begun; None if not known."""
        return self._n_waiting()

    def forecast_s(self) -> float | None:
        """The seconds until the current stage ends; None if not known."""
        return self._forecast_s()

    def epochs(self) -> dict[tuple[str, str], int]:
        """(stage, architecture) -> epochs, those of the rows of earlier sessions included."""
        return dict(self._epochs)

    def stages_s(self) -> dict[str, float]:
        """Stage -> its seconds so far, in all sessions."""
        found, stage = dict(self._stages_s), self.stage
        if stage:
            found[stage] = found.get(stage, 0.0) + time.perf_counter() - self._stage_began
        return found

    def budget_s(self) -> dict[str, tuple[float, float]]:
        """Limit on time -> its seconds, and those that are left.

        Of wall time for "minutes"; of cores and GPUs, in training runs, for "core_hours" and
        "gpu_hours".
        """
        if self._budget is None:
            return {}
        limits: dict[str, tuple[float, float]] = {}
        if self._budget.minutes is not None:
            limits["minutes"] = (60 * self._budget.minutes, self._wall_s())
        now = time.perf_counter()
        trained_s = sum(run.elapsed_s or 0.0 for _, _, run in self.ended_runs())
        trained_s += sum(now - trial.began for trial in self.running_trials())
        if self._budget.core_hours is not None:
            used_s = trained_s * self.resources.cpus
            limits["core_hours"] = (HOUR_S * self._budget.core_hours, used_s)
        if self._budget.gpu_hours is not None:
            limits["gpu_hours"] = (HOUR_S * self._budget.gpu_hours, trained_s * self.resources.gpus)
        return {name: (given_s, max(0.0, given_s - s)) for name, (given_s, s) in limits.items()}
