"""The second stage: the best distinct trials, retrained on every fold, as trials of their own.

Each retraining keeps its last weights and is scored on rows that chose nothing in it, so that the
out-of-fold predictions, on which ensembles are fitted, are honest.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chorale.cluster.base import Decision, End, Outcome, TrialSpec
from chorale.search.console.events import Listener, Started
from chorale.search.ledger.ledger import Ledger, Row
from chorale.search.ledger.stages import FINALISTS, Job
from chorale.search.paths import TrialPaths
from chorale.search.study import attempts
from chorale.search.study.retries import Retries
from chorale.search.study.trial_outcome import failure_of, keep_traceback, refuse_no_room
from chorale.search.training.run_trial import TrialPlan, TrialResult, forget_state

NEAR = 0.75
"""An architecture is far behind where its best trial reaches less than this share of the best."""


def choose(rows: Mapping[str, Row], *, n: int, objective: str) -> list[int]:
    """The numbers of at most `n` finished trials, best first, no two with the same configuration.

    The best is first in the objective and in the calibrated log loss together: the sum of its
    places in both, as a single fold of few tracks tells the best accuracies apart by luck. In the
    simulation that is worth as much as training twice the finalists on another fold before they
    are chosen. Trials of older versions have no such loss: then the objective decides alone.

    Every architecture sends its best trial before any sends its second, as far as `n` allows: an
    ensemble lives on members that err differently. An architecture that is far behind the best
    one waits until the others have sent theirs.
    """
    ranked = _ranked([row for row in rows.values() if row.state == "COMPLETE"], objective)
    distinct: dict[str, Row] = {}
    for row in ranked:
        distinct.setdefault(_configuration(row), row)
    firsts: dict[str, Row] = {}
    for row in distinct.values():
        firsts.setdefault(row.facts["architecture"], row)
    enough = NEAR * max((row.facts["metrics"][objective] for row in ranked), default=0.0)
    near = [row for row in firsts.values() if row.facts["metrics"][objective] >= enough]
    chosen = near[:n]
    chosen += [row for row in distinct.values() if row not in chosen][: n - len(chosen)]
    order = {row.key: rank for rank, row in enumerate(ranked)}
    return [int(row.key) for row in sorted(chosen, key=lambda row: order[row.key])]


def repeated(rows: Mapping[str, Row], source: str) -> int | None:
    """The number of the trial that repeats `source`, "study/number"; None where none could.

    One that was pruned did, as far as it was let.
    """
    numbers = [
        int(key)
        for key, row in rows.items()
        if row.state in ("COMPLETE", "PRUNED")
        and str(row.facts.get("origin", "")).endswith(f"from {source}")
    ]
    return min(numbers, default=None)


def _ranked(rows: Sequence[Row], objective: str) -> list[Row]:
    """Best first: by the sum of a trial's places, then by the objective, then the earlier one."""
    values = [-float(row.facts["metrics"][objective]) for row in rows]
    losses = [row.facts.get("calibrated_log_loss", math.nan) for row in rows]
    places = [sum(other < mine for other in values) for mine in values]
    if not any(math.isnan(loss) for loss in losses):
        by_loss = [sum(other < mine for other in losses) for mine in losses]
        places = [a + b for a, b in zip(places, by_loss, strict=True)]
    keys = [
        (place, value, int(row.key)) for place, value, row in zip(places, values, rows, strict=True)
    ]
    return [rows[i] for i in sorted(range(len(rows)), key=keys.__getitem__)]


def _configuration(row: Row) -> str:
    """What two trials share that differ in nothing that counts: numbers to two digits."""
    params = sorted(row.facts["params"].items())
    return repr([(k, f"{v:.1e}" if isinstance(v, float) else v) for k, v in params])


@dataclass(frozen=True)
class Finals:
    """What the second stage is told.

    `plan` makes a retraining of a job, `keep` puts its predictions into the bank, `facts` says
    what trial a number stands for, `files` where a job's files lie, if it leaves any. `stage` is
    the ledger's name for these runs.
    """

    study: str
    jobs: Sequence[Job]
    plan: Callable[[Job], TrialPlan]
    keep: Callable[[Job, TrialResult], None]
    facts: Callable[[int], Mapping[str, Any]]
    files: Callable[[Job], TrialPaths] | None = None
    stage: str = FINALISTS


class FinalistTrials:
    """`Trials` over a fixed list of jobs; those that the ledger has finished are not run again."""

    def __init__(self, finals: Finals, ledger: Ledger, listener: Listener) -> None:
        """Leaves out what is finished; what failed is tried again."""
        self._finals = finals
        self._ledger = ledger
        self._listener = listener
        finished = {
            key
            for key, row in ledger.rows(finals.study, finals.stage).items()
            if row.state == "COMPLETE"
        }
        self._jobs = dict(enumerate(finals.jobs))
        self._waiting = [i for i, job in self._jobs.items() if job.key not in finished]
        if finals.files is not None:
            attempts.book_interrupted(
                ledger,
                finals.study,
                finals.stage,
                {j.key: finals.files(j).config_yaml for j in finals.jobs if j.key not in finished},
            )
        for job in finals.jobs:  # whose state a crash has left behind
            if job.key in finished and finals.files is not None:
                forget_state(finals.files(job))
        self._began: dict[int, float] = {}
        self._retries = Retries()

    def ask(self, n: int) -> list[TrialSpec]:
        """The next jobs that no run has finished."""
        now, self._waiting = self._waiting[:n], self._waiting[n:]
        specs = []
        for i in now:
            job = self._jobs[i]
            self._began[i] = time.perf_counter()
            plan = self._retries.plan(i, self._finals.plan(job))
            specs.append(TrialSpec(i, {"plan": plan}))
            facts = self._finals.facts(job.number)
            self._listener.started(Started(i, job.name, facts["architecture"], {}))
        return specs

    def done(self) -> bool:
        """Whether every job has ended: one that runs may be lost, and tried again."""
        return not self._waiting and not self._began

    def report(self, trial_id: int, step: int, metrics: Mapping[str, float]) -> Decision:
        """Nothing stops a finalist."""
        self._listener.reported(trial_id, step, metrics)
        return Decision.CONTINUE

    def tell(self, trial_id: int, outcome: Outcome) -> None:
        """Commits how a retraining ended: bank first, then the row."""
        refuse_no_room(self._jobs[trial_id].name, outcome)
        job, began = self._jobs[trial_id], self._began.pop(trial_id)
        elapsed_s = time.perf_counter() - began
        if self._retries.again(trial_id, outcome):
            self._book(job, elapsed_s, outcome.reason)
            self._waiting.insert(0, trial_id)
            return
        before = self._ledger.rows(self._finals.study, self._finals.stage).get(job.key)
        if before is not None:  # it failed in an earlier sitting, and this row takes its place
            self._book(job, float(before.facts.get("elapsed_s", 0.0)), before.reason)
        facts = {"elapsed_s": elapsed_s, **self._retries.facts(trial_id)}
        files = None if self._finals.files is None else self._finals.files(job)
        if outcome.end is End.FAILED:
            if files is not None:
                facts |= keep_traceback(files.error, outcome)
            facts |= {"traceback": outcome.traceback, "failure": failure_of(outcome)}
            row = Row(job.key, "FAIL", outcome.reason, facts)
        else:
            result: TrialResult = outcome.value
            self._finals.keep(job, result)
            row = Row(job.key, "COMPLETE", facts={**result.facts(), **facts})
        self._ledger.record(self._finals.study, self._finals.stage, row)
        if files is not None:
            forget_state(files)
        self._listener.ended(trial_id, row)

    def _book(self, job: Job, elapsed_s: float, reason: str) -> None:
        study, stage = self._finals.study, self._finals.stage
        attempts.book(self._ledger, study, stage, job.key, elapsed_s=elapsed_s, reason=reason)
