"""The finalists: the best distinct trials, retrained by cross-validation on every fold.

`search.study.finalist_choice` chooses them.
Each retraining keeps its last weights, and no held-out row influences it (no early stopping), so
that the out-of-fold predictions, on which ensembles are fitted, are unbiased.
"""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chorale.cluster.base import Decision, End, Outcome, TrialSpec
from chorale.search.console.events import StudyListener, TrialStarted
from chorale.search.ledger.ledger import Ledger, Row
from chorale.search.ledger.stages import FINALISTS, Job
from chorale.search.paths import TrialPaths
from chorale.search.study import attempts
from chorale.search.study.retries import Retries
from chorale.search.study.trial_outcome import (
    OUT_OF_TIME,
    failure_kind,
    stop_if_disk_full,
    write_traceback,
)
from chorale.search.training.run_trial import remove_state
from chorale.search.training.trial_plan import TrialPlan, TrialResult

MIN_EXPECTED_S = 0.1
"""Fewer expected seconds tell nothing of how slow retrainings are."""

ENOUGH_EPOCHS = 0.5
"""The share of its epochs after which a retraining that time stops is used all the same. What it
is worth shows in its out-of-fold predictions, which are of the same networks as those of the test
rows; with 0.8, the only finalist of a sweep was left out as two of its folds had 21 of 30
epochs."""


@dataclass(frozen=True)
class TimeLimit:
    """The time for the finalists: `left_s` gives the wall seconds left.

    `expected_s` gives the seconds of one retraining of a trial by its number, `n_at_once` of which
    run at the same time; what the first retrainings take corrects it.
    """

    left_s: Callable[[], float]
    expected_s: Callable[[int], float]
    n_at_once: int


@dataclass(frozen=True)
class FinalistStage:
    """The settings of the finalists' stage.

    `jobs` are those that every finalist needs. `further` are trained after them, while the time
    limit allows: further seeds of finalists, all folds of a seed or none. One that did not complete
    is the last one of its finalist.

    `plan` makes the training run of a job, `keep` writes its predictions into the bank, `facts`
    describes the trial of a number, `files` gives the paths of a job's files, if it has any.
    `stage` is the ledger's name of these runs. With `time_limit`, a finalist whose retrainings
    would not end in time is not started, and those that run when the time is up are stopped: what
    had enough of its epochs by then is used, the rest is not.
    """

    study: str
    jobs: Sequence[Job]
    plan: Callable[[Job], TrialPlan]
    keep: Callable[[Job, TrialResult], None]
    facts: Callable[[int], Mapping[str, Any]]
    files: Callable[[Job], TrialPaths] | None = None
    stage: str = FINALISTS
    time_limit: TimeLimit | None = None
    further: Sequence[Job] = ()

    @property
    def all_jobs(self) -> tuple[Job, ...]:
        """The jobs that every finalist needs, then the further ones."""
        return (*self.jobs, *self.further)


class FinalistTrials:
    """`Trials` over a fixed list of jobs; jobs that are complete in the ledger are skipped."""

    def __init__(self, finals: FinalistStage, ledger: Ledger, listener: StudyListener) -> None:
        """Skips complete jobs; failed ones are run again."""
        self._finals = finals
        self._ledger = ledger
        self._listener = listener
        finished = {
            key
            for key, row in ledger.rows(finals.study, finals.stage).items()
            if row.state == "COMPLETE"
        }
        self._jobs = dict(enumerate(finals.all_jobs))
        self._waiting = [i for i, job in self._jobs.items() if job.key not in finished]
        if finals.files is not None:
            attempts.record_interrupted(
                ledger,
                finals.study,
                finals.stage,
                {
                    job.key: finals.files(job).config_yaml
                    for job in finals.all_jobs
                    if job.key not in finished
                },
            )
        for job in finals.all_jobs:  # a crash may have left the training state of complete ones
            if job.key in finished and finals.files is not None:
                remove_state(finals.files(job))
        self._began: dict[int, float] = {}
        self._n_epochs: dict[int, int] = {}
        self._n_done: dict[int, int] = {}
        self._started: set[tuple[int, int]] = set()
        self._slowness: list[tuple[int, float]] = []
        """of each complete retraining: the trial's number, and the seconds that it took, relative
        to those that were expected"""
        self.not_started: set[int] = set()
        """the numbers of finalists for which no time was left"""
        self._retries = Retries()

    @property
    def n_waiting(self) -> int:
        """How many jobs have not begun; other threads may read it."""
        return len(self._waiting)

    def ask(self, n: int) -> list[TrialSpec]:
        """The next jobs that are not complete."""
        specs: list[TrialSpec] = []
        while self._waiting and len(specs) < n:
            i = self._waiting.pop(0)
            job = self._jobs[i]
            if not self._has_time(i):
                self._leave_out(i)
                continue
            self._started.add(_finalist(job))
            self._began[i] = time.perf_counter()
            plan = self._retries.plan(i, self._finals.plan(job))
            if self._finals.time_limit is not None:
                self._n_epochs[i] = int(plan.train["max_epochs"])
            specs.append(TrialSpec(i, {"plan": plan}))
            facts = self._finals.facts(job.number)
            self._listener.started(TrialStarted(i, job.name, facts["architecture"], {}))
        return specs

    def done(self) -> bool:
        """Whether every job has ended; a running one may be lost and retried."""
        return not self._waiting and not self._began

    def report(self, trial_id: int, step: int, metrics: Mapping[str, float]) -> Decision:
        """CONTINUE, as finalists are never pruned, unless the time is up."""
        self._listener.reported(trial_id, step, metrics)
        self._n_done[trial_id] = step
        limit = self._finals.time_limit
        if limit is not None and limit.left_s() <= 0 and step < self._n_epochs[trial_id]:
            return Decision.STOP
        return Decision.CONTINUE

    def _has_time(self, trial_id: int) -> bool:
        """Whether the finalist of a job has begun, or would end in time if it began now."""
        limit, job = self._finals.time_limit, self._jobs[trial_id]
        if limit is None:
            return True
        if _finalist(job) in self._started:
            return not self._is_further(trial_id) or limit.left_s() > 0
        now = time.perf_counter()
        running_s = sum(
            max(0.0, self._expected_s(limit, self._jobs[i].number) - (now - began))
            for i, began in self._began.items()
        )
        n_jobs = 1 + sum(_finalist(self._jobs[i]) == _finalist(job) for i in self._waiting)
        n_rounds = math.ceil(n_jobs / limit.n_at_once)
        needed_s = running_s / limit.n_at_once + n_rounds * self._expected_s(limit, job.number)
        return needed_s <= limit.left_s()

    def _expected_s(self, limit: TimeLimit, number: int) -> float:
        """The seconds of one retraining, by those that ended: of this trial, or else of all."""
        own = [slowness for of, slowness in self._slowness if of == number]
        known = own or [slowness for _, slowness in self._slowness] or [1.0]
        return statistics.fmean(known) * limit.expected_s(number)

    def _is_further(self, trial_id: int) -> bool:
        return trial_id >= len(self._finals.jobs)

    def _leave_out(self, trial_id: int) -> None:
        """Starts no more jobs of a finalist for which no time is left."""
        job = self._jobs[trial_id]
        if not self._is_further(trial_id):
            self.not_started.add(job.number)
            self._waiting = [i for i in self._waiting if _finalist(self._jobs[i]) != _finalist(job)]
        self._end_further(job.number)

    def _end_further(self, number: int) -> None:
        """Starts no more further seeds of a finalist."""
        self._waiting = [
            i for i in self._waiting if not (self._is_further(i) and self._jobs[i].number == number)
        ]

    def tell(self, trial_id: int, outcome: Outcome) -> None:
        """Commits the end of a retraining: first the predictions, then the ledger's row."""
        stop_if_disk_full(self._jobs[trial_id].name, outcome)
        job, began = self._jobs[trial_id], self._began.pop(trial_id)
        elapsed_s = time.perf_counter() - began
        if self._retries.again(trial_id, outcome):
            self._record_lost(job, elapsed_s, outcome.reason, failure_kind(outcome))
            self._waiting.insert(0, trial_id)
            return
        before = self._ledger.rows(self._finals.study, self._finals.stage).get(job.key)
        if before is not None:  # it failed in an earlier session, and this row replaces that one
            before_s = float(before.facts.get("elapsed_s", 0.0))
            failure = str(before.facts.get("failure", OUT_OF_TIME))
            self._record_lost(job, before_s, before.reason, failure)
        facts = {"elapsed_s": elapsed_s, **self._retries.facts(trial_id)}
        files = None if self._finals.files is None else self._finals.files(job)
        if outcome.end is End.STOPPED and not self._has_enough_epochs(trial_id):
            row = Row(job.key, "PRUNED", OUT_OF_TIME, facts)
        elif outcome.end is End.FAILED:
            if files is not None:
                facts |= write_traceback(files.error, outcome)
            facts |= {"traceback": outcome.traceback, "failure": failure_kind(outcome)}
            row = Row(job.key, "FAIL", outcome.reason, facts)
        else:
            result: TrialResult = outcome.value
            self._finals.keep(job, result)
            row = Row(job.key, "COMPLETE", facts={**result.facts(), **facts})
            if self._finals.time_limit is not None and outcome.end is not End.STOPPED:
                expected_s = self._finals.time_limit.expected_s(job.number)
                slowness = elapsed_s / max(expected_s, MIN_EXPECTED_S)
                self._slowness.append((job.number, slowness))
        if row.state != "COMPLETE":
            self._end_further(job.number)
        self._ledger.record(self._finals.study, self._finals.stage, row)
        if files is not None:
            remove_state(files)
        self._listener.ended(trial_id, row)

    def _has_enough_epochs(self, trial_id: int) -> bool:
        """Whether a stopped retraining has enough of its epochs to be used like a whole one."""
        return self._n_done[trial_id] >= ENOUGH_EPOCHS * self._n_epochs[trial_id]

    def _record_lost(self, job: Job, elapsed_s: float, reason: str, failure: str) -> None:
        study, stage = self._finals.study, self._finals.stage
        attempts.record_lost(
            self._ledger, study, stage, job.key, elapsed_s=elapsed_s, reason=reason, failure=failure
        )


def _finalist(job: Job) -> tuple[int, int]:
    """What is of use only as a whole: all folds of one trial and seed."""
    return job.number, job.seed
