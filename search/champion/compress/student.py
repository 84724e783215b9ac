"""Students of an ensemble: searched under a latency limit, taught fold by fold, pruned, and whole.

The search is a study like any other, in the same ledger; `search.champion.compress.run` drives it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chorale.datasets.config import plain
from chorale.datasets.errors import UserError
from chorale.datasets.seeds import Purpose, seed_of
from chorale.datasets.splitting.split import SEARCH_FOLD
from chorale.lightning_models.base import load_architecture
from chorale.lightning_models.metrics import accuracy
from chorale.lightning_models.training.structured_pruning import narrowed
from chorale.search.champion.compress.teacher import SHARE, Teacher
from chorale.search.config.space import Candidate
from chorale.search.ledger import predictions, stages
from chorale.search.ledger.ledger import Row
from chorale.search.ledger.predictions import Part
from chorale.search.ledger.stages import Job
from chorale.search.paths import TrialPaths
from chorale.search.statistics.arrays import Proba
from chorale.search.study import finalists
from chorale.search.study.finalists import FinalistTrials, Finals
from chorale.search.study.trial_outcome import TOO_SLOW
from chorale.search.sweep.sitting import Sitting, candidate_of
from chorale.search.training.plan import plan_finalist, plan_trial
from chorale.search.training.run_trial import TrialPlan, TrialResult, run_trial

STAGE = "students"
PRUNED = "pruned"

N_STUDENTS = 2
"""So many of the search's best are taught on every fold; the best of them out of fold is it."""

N_SHOWN = 1
"""Training rows that a training without held-out rows is asked about: what it says is not used."""

HEADROOM = 0.9
"""The share of the limit that a candidate may take: when it is timed again the machine may be less
quiet."""

PATIENCE = 3
"""So many times as long as in a trial a student is taught. Soft targets are learnt slowly and not
by heart: Beyer et al. 2022, "Knowledge distillation: A good teacher is patient and consistent",
arXiv:2106.05237."""

LEFT = 0.5
"""About the share of filters and units that pruning leaves,"""
RETRAIN = 0.5
"""and of the epochs, and of the learning rate, that a network is trained on with then."""


RECIPE = {
    "share": SHARE,
    "patience": PATIENCE,
    "headroom": HEADROOM,
    "left": LEFT,
    "retrain": RETRAIN,
}
"""What a student study must not change while it goes on."""


@dataclass(frozen=True)
class Said:
    """What a student says: `out_of_fold` by those that were taught without a row's fold, `test` by
    the whole one; (n, n_classes) each. `jobs` are their trainings, the whole one last.
    """

    out_of_fold: Proba
    test: Proba
    jobs: tuple[Job, ...]


@dataclass(kw_only=True)
class Students(Sitting):
    """One sitting of a student study; the stages come one after the other, and none twice."""

    teacher: Teacher
    limit_ms: float

    def find(self) -> int:
        """Searches, teaches the best on every fold, and gives the number of the one to use.

        Raises:
            UserError: no candidate keeps to the limit, or none came to its end.
        """
        self._search()
        rows = self.ledger.rows(self.sweep.name, stages.SEARCH)
        objective = self.sweep.search.objective
        numbers = finalists.choose(rows, n=N_STUDENTS, objective=objective)
        jobs = [Job(number, fold, 0) for number in numbers for fold in self._folds]
        self._teach(STAGE, jobs, self._plan_job, self._files)
        labels = self.prepared.labels[self.prepared.rows(self.prepared.split.development_ids)]
        said = {number: self._out_of_fold(number, self._files) for number in numbers}
        best = max(numbers, key=lambda number: accuracy(said[number], labels))
        told = ", ".join(f"trial {n} {accuracy(said[n], labels):.1%}" for n in numbers)
        self.progress.stage("students", f"out of fold {told}: trial {best} is the student")
        return best

    def whole(self, number: int) -> Said:
        """Teaches the student on all development rows; gives what it says."""
        self._teach(STAGE, [self._whole(number)], self._plan_job, self._files)
        return self._said(number, self._files)

    def pruned(self, number: int) -> Said:
        """Prunes the student, those of the folds too, and trains each on for a while.

        Raises:
            UserError: its architecture cannot be narrowed.
        """
        row = self._row(number)
        self._narrowed(row)  # refused before anything is trained
        jobs = [*(Job(number, fold, 0) for fold in self._folds), self._whole(number)]
        self._teach(PRUNED, jobs, self._plan_pruned, self._pruned_files)
        return self._said(number, self._pruned_files)

    def architecture(self, number: int) -> str:
        """What a trial was."""
        return str(self._row(number).facts["architecture"])

    def weights(self, job: Job, *, pruned: bool = False) -> Any:
        """The folder of a student's network."""
        return (self._pruned_files if pruned else self._files)(job).weights

    @property
    def _folds(self) -> range:
        return range(self.prepared.split.n_folds)

    def _whole(self, number: int) -> Job:
        """The training that holds out no fold is the one after the last."""
        return Job(number, self.prepared.split.n_folds, 0)

    def _row(self, number: int) -> Row:
        return self.ledger.rows(self.sweep.name, stages.SEARCH)[str(number)]

    def _plan_trial(self, candidate: Candidate, number: int) -> TrialPlan:
        planned = plan_trial(self.resolved, self.prepared, candidate, number)
        targets = self.teacher.targets(self.prepared, SEARCH_FOLD)
        return replace(
            planned, targets=targets, limit_ms=HEADROOM * self.limit_ms, measure_latency=False
        )

    def _plan_job(self, job: Job) -> TrialPlan:
        candidate = candidate_of(self._row(job.number))
        held_out = job if job.fold in self._folds else replace(job, fold=SEARCH_FOLD)
        planned = plan_finalist(self.resolved, self.prepared, candidate, held_out)
        targets = self.teacher.targets(self.prepared, job.fold)
        train = {**planned.train, "max_epochs": PATIENCE * planned.train["max_epochs"]}
        planned = replace(planned, targets=targets, train=train, measure_latency=False)
        if job.fold in self._folds:
            return planned
        rows = self.prepared.rows(self.prepared.split.development_ids)
        return replace(
            planned,
            train_rows=rows,
            valid_rows=rows[:N_SHOWN],
            whole=True,
            seed=seed_of(self.sweep.search.seed, Purpose.STUDENT, job.number, job.fold, job.seed),
            folder=str(self._files(job).root.absolute()),
        )

    def _plan_pruned(self, job: Job) -> TrialPlan:
        planned = self._plan_job(job)
        train = dict(planned.train)
        train["max_epochs"] = max(1, round(RETRAIN * train["max_epochs"]))
        train |= {name: RETRAIN * train[name] for name in ("lr", "sgd_lr")}
        return replace(
            planned,
            config=self._narrowed(self._row(job.number)),
            train=train,
            start=str(self._files(job).weights.absolute()),
            folder=str(self._pruned_files(job).root.absolute()),
        )

    def _narrowed(self, row: Row) -> Mapping[str, Any]:
        name = str(row.facts["architecture"])
        config = load_architecture(name).Config(**row.facts["config"])
        return dict(plain(narrowed(name, config, LEFT)))

    def _pruned_files(self, job: Job) -> TrialPaths:
        return self.paths.narrowed(job.number, fold=job.fold, seed=job.seed)

    def _teach(
        self,
        stage: str,
        jobs: Sequence[Job],
        plan: Callable[[Job], TrialPlan],
        files: Callable[[Job], TrialPaths],
    ) -> None:
        """Runs the jobs that have not ended.

        Raises:
            UserError: one of them failed.
        """
        rows = self.ledger.rows(self.sweep.name, stages.SEARCH)
        told = Finals(
            study=self.sweep.name,
            jobs=jobs,
            plan=plan,
            keep=lambda job, result: self._keep(files(job), job, result),
            facts=lambda number: rows[str(number)].facts,
            files=files,
            stage=stage,
        )
        ended = self.ledger.rows(self.sweep.name, stage)
        n_before = sum(job.key in ended and ended[job.key].state == "COMPLETE" for job in jobs)
        if n_before == len(jobs):
            return
        with self._display(stage.removesuffix("s"), len(jobs), n_before=n_before) as display:
            trials = FinalistTrials(told, self.ledger, display)
            self.crew.runner.run(self._placed(trials), run_trial)
        ended = self.ledger.rows(self.sweep.name, stage)
        for job in jobs:
            if ended[job.key].state != "COMPLETE":
                raise UserError(
                    f"the student of {job.name} did not come to its end: {ended[job.key].reason}; "
                    f"mend that, then type the same again: what has ended is kept"
                )

    def _keep(self, files: TrialPaths, job: Job, result: TrialResult) -> None:
        split = self.prepared.split
        if result.extra_proba is None:
            raise ValueError(f"student {job.key} brought no test predictions")
        parts = {"test": Part(split.test_ids, result.extra_proba)}
        if job.fold in self._folds:
            parts["valid"] = Part(split.valid_ids(job.fold), result.valid_proba)
        predictions.write(files.predictions, parts, split=split.hash)
        self._say_left_out(job.name, result.left_out)

    def _out_of_fold(self, number: int, files: Callable[[Job], TrialPaths]) -> Proba:
        split = self.prepared.split
        at = {track: i for i, track in enumerate(split.development_ids)}
        found = np.zeros((len(at), len(self.prepared.class_names)), np.float32)
        for fold in self._folds:
            ids = split.valid_ids(fold)
            path = files(Job(number, fold, 0)).predictions
            parts = predictions.read(path, {"valid": ids}, split=split.hash)
            found[[at[track] for track in ids]] = parts["valid"].proba
        return found

    def _said(self, number: int, files: Callable[[Job], TrialPaths]) -> Said:
        split, whole = self.prepared.split, self._whole(number)
        parts = predictions.read(
            files(whole).predictions, {"test": split.test_ids}, split=split.hash
        )
        jobs = (*(Job(number, fold, 0) for fold in self._folds), whole)
        return Said(self._out_of_fold(number, files), parts["test"].proba, jobs)

    def _nothing_finished(self, rows: Mapping[str, Row]) -> str:
        slow = [row for row in rows.values() if row.reason.startswith(TOO_SLOW)]
        if not slow:
            return super()._nothing_finished(rows)
        fastest = min(slow, key=_ms)
        return (
            f"no candidate keeps to {self.limit_ms:g} ms: {len(slow)} of {len(rows)} were too "
            f"slow, the fastest took {_ms(fastest):.1f} ms ({fastest.facts['architecture']}); give "
            f"more time: --target-ms {np.ceil(1.2 * _ms(fastest)):g}"
        )


def _ms(row: Row) -> float:
    """What a candidate took that was too slow, as its reason says."""
    return float(row.reason.removeprefix(TOO_SLOW).split()[0])
