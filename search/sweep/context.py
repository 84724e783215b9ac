"""The context of a running sweep: what all of its stages share."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from chorale.cluster.base import Trials
from chorale.datasets.atomic import write_json
from chorale.search.config.resolve import ResolvedSweep
from chorale.search.config.schema import SweepConfig
from chorale.search.console.progress import Progress, TrialsDisplay
from chorale.search.data.prepare import PreparedData
from chorale.search.ledger import stages
from chorale.search.ledger.ledger import Ledger, LedgerError, Row
from chorale.search.ledger.stages import Job
from chorale.search.monitoring.metered import Metered
from chorale.search.monitoring.monitor import SweepMonitor
from chorale.search.paths import StudyPaths, TrialPaths
from chorale.search.report.report import Cost
from chorale.search.study.schedule import Schedule
from chorale.search.sweep.earlier_studies import EarlierStudies
from chorale.search.sweep.gpu_shares import Sized, recorded_peaks
from chorale.search.sweep.placing import Placed
from chorale.search.sweep.worker_pool import WorkerPool
from chorale.search.training.run_trial import run_trial


@dataclass(frozen=True)
class SweepContext:
    """One run of a sweep, from its start or its resumption to its end.

    `was_complete` says that the study was complete when it was opened. `costs` maps architectures
    to the seconds of one trial, where they were measured; without `trains_networks` the time allows
    baselines only; with `finish` nothing more is trained. A trial of an architecture's first
    default may take `trial_limit_s`. `began` is when the command started, by `time.perf_counter`;
    `spent_before_s` is the wall time of earlier runs. `stages_s` maps each stage to its wall time
    so far, in all runs. `monitor` is what is measured while it runs, and `slowdowns` what the
    baselines' fits showed of other programs on the processor (`Baselines.slowdown`).
    """

    resolved: ResolvedSweep
    prepared: PreparedData
    ledger: Ledger
    pool: WorkerPool
    progress: Progress
    earlier: EarlierStudies = field(default_factory=EarlierStudies)
    was_complete: bool = False
    costs: Mapping[str, float] = field(default_factory=dict)
    trains_networks: bool = True
    trial_limit_s: float = float("inf")
    finish: bool = False
    began: float = field(default_factory=time.perf_counter)
    spent_before_s: float = 0.0
    stages_s: dict[str, float] = field(default_factory=dict)
    monitor: SweepMonitor = field(default_factory=SweepMonitor)
    slowdowns: list[float] = field(default_factory=list)

    @property
    def sweep(self) -> SweepConfig:
        """The sweep file's values."""
        return self.resolved.sweep

    @property
    def paths(self) -> StudyPaths:
        """The study's files."""
        return self.sweep.paths

    def rows(self, stage: str) -> Mapping[str, Row]:
        """The ledger's rows of a stage, by key."""
        return self.ledger.rows(self.sweep.name, stage)

    def finalist_files(self, job: Job) -> TrialPaths:
        """The files of one retraining."""
        return self.paths.finalist(job.number, fold=job.fold, seed=job.seed)

    def monitor_study(self) -> None:
        """Gives the monitor what the study has and what it may use, from its ledger and pool."""
        recorded = (stages.SEARCH, stages.FINALISTS, stages.ATTEMPTS)
        self.monitor.attach(
            objective=self.sweep.search.objective,
            budget=self.sweep.budget,
            resources=self.pool.resources,
            n_at_once=self.pool.trials_at_once,
            wall_s=self.wall_s,
            stages_s=self.stages_s,
            rows={stage: self.rows(stage) for stage in recorded},
        )

    def elapsed_s(self) -> float:
        """Wall time since the command started, in seconds."""
        return time.perf_counter() - self.began

    def wall_s(self) -> float:
        """Wall time of all runs of this study so far, in seconds."""
        return self.spent_before_s + self.elapsed_s()

    @cached_property
    def schedule(self) -> Schedule:
        """The wall time of the sweep and what is left of it."""
        if self.finish:
            return Schedule(limit_s=0.0)
        return Schedule.of(
            self.sweep.budget.minutes,
            n_rows=len(self.prepared.split.development_ids),
            n_classes=len(self.prepared.class_names),
            wall_s=self.wall_s,
            slowdown=lambda: self.slowdowns[-1] if self.slowdowns else 1.0,
        )

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Adds the wall time of the block to that of a stage, for the report and the status."""
        began = time.perf_counter()
        self.monitor.enter(stage)
        try:
            yield
        except KeyboardInterrupt:
            self._add_time(stage, began)
            raise
        finally:
            self.monitor.enter("")
        self._add_time(stage, began)

    def _add_time(self, stage: str, began: float) -> None:
        self.stages_s[stage] = self.stages_s.get(stage, 0.0) + time.perf_counter() - began
        write_json(self.paths.stages_json, self.stages_s)

    def cost(self) -> Cost:
        """What the study has taken so far, for the report."""
        return Cost(
            wall_s=self.wall_s(),
            cpus_per_trial=self.pool.resources.cpus,
            gpus_per_trial=self.pool.resources.gpus,
            trials_at_once=self.pool.trials_at_once,
            stages_s=dict(self.stages_s),
        )

    def display(self, kind: str, n: int | Callable[[], int] | None, **more: Any) -> TrialsDisplay:
        """The progress display of `n` training runs; None where time limits them."""
        objective = self.sweep.search.objective
        return TrialsDisplay(self.progress.console, kind, n, objective=objective, **more)

    def train(self, trials: Trials) -> None:
        """Runs training runs in the pool until `trials` are done.

        Each one carries the folders that it reads and writes and, where the pool shares GPUs, the
        memory that runs of its shape were measured to need.
        """
        placed: Trials = Placed(trials)
        if self.pool.sized:
            searched = self.rows(stages.SEARCH).values()
            peaks = recorded_peaks(searched, self.resolved.network_config)
            placed = Sized(placed, self.pool.resources, peaks)
        self.pool.runner.run(Metered(placed, self.monitor), run_trial)

    def warn_left_out(self, name: str, files: Sequence[str]) -> None:
        """Prints which files of a training run were not written for want of disk space."""
        if files:
            self.progress.stage("disk full", f"{name} goes on without: {'; '.join(files)}")


@contextmanager
def session(context: SweepContext) -> Iterator[None]:
    """Releases the study's lease at the end of the block: complete, or interrupted by an error."""
    ledger, name = context.ledger, context.sweep.name
    try:
        yield
    except BaseException:
        # The error that ended the sweep is raised, not a second one of the ledger.
        with suppress(LedgerError):
            ledger.release(name, "interrupted", spent_s=context.elapsed_s())
        raise
    ledger.release(name, "complete", spent_s=context.elapsed_s())
