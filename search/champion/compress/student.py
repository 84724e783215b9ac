"""Knowledge distillation: students searched under a latency limit, trained per fold, and pruned.

The search is an ordinary study in the same ledger; `search.champion.compress.run` drives it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chorale.datasets.config import to_plain_values
from chorale.datasets.errors import UserError
from chorale.datasets.seeds import Purpose, derive_seed
from chorale.datasets.splitting.split import SEARCH_FOLD
from chorale.lightning_models.base import load_architecture
from chorale.lightning_models.multi_label_metrics import main_score
from chorale.lightning_models.training.structured_pruning import pruned_config
from chorale.search.champion.compress.teacher import TEACHER_SHARE, Teacher
from chorale.search.config.space import Candidate
from chorale.search.data.prepare import PreparedData
from chorale.search.ledger import predictions, stages
from chorale.search.ledger.ledger import Row
from chorale.search.ledger.predictions import PredictionPart
from chorale.search.ledger.stages import Job
from chorale.search.paths import TrialPaths
from chorale.search.statistics.arrays import Proba
from chorale.search.study.finalist_choice import choose_finalists
from chorale.search.study.finalists import FinalistStage, FinalistTrials
from chorale.search.study.trial_outcome import OVER_LIMIT
from chorale.search.sweep.context import SweepContext
from chorale.search.sweep.search_stage import candidate_of, no_trial_completed, search
from chorale.search.training.model_cost import HEADROOM, ModelLimit, NetworkCost, model_cost
from chorale.search.training.plan import plan_finalist, plan_trial
from chorale.search.training.trial_plan import TrialPlan, TrialResult

STAGE = "students"
PRUNED = "pruned"

N_STUDENTS = 2
"""How many of the search's best trials are trained on every fold; the one of the highest
out-of-fold accuracy (multi-label: mAP) becomes the student."""

N_UNUSED_VALID_ROWS = 1
"""Validation rows of a training that holds out none; the predictions for them are not used."""

EPOCH_FACTOR = 3
"""A student's epochs, as a multiple of a trial's. Training on soft targets converges slowly and
overfits little: Beyer et al. 2022, "Knowledge distillation: A good teacher is patient and
consistent", arXiv:2106.05237."""

KEPT_WIDTH = 0.5
"""The approximate share of filters and units that pruning keeps."""
FINE_TUNING_SHARE = 0.5
"""Epochs and learning rate of the fine-tuning after pruning, as shares of the student's."""


RECIPE = {
    "share": TEACHER_SHARE,
    "patience": EPOCH_FACTOR,
    "headroom": HEADROOM,
    "left": KEPT_WIDTH,
    "retrain": FINE_TUNING_SHARE,
}
"""Settings in the study's fingerprint: a resumed compression must have the same."""


@dataclass(frozen=True)
class StudentPredictions:
    """A student's predictions, (n, n_classes): `out_of_fold` of the students of each fold, `test`
    of the final one. `jobs` are their trainings, the final one last.
    """

    out_of_fold: Proba
    test: Proba
    jobs: tuple[Job, ...]


@dataclass(frozen=True)
class Students:
    """The stages of a student study, called in order; completed trainings are not repeated."""

    context: SweepContext
    teacher: Teacher
    limit_ms: float

    @property
    def prepared(self) -> PreparedData:
        """The study's data."""
        return self.context.prepared

    def find_student(self) -> int:
        """Searches, trains the best trials on every fold, and gives the chosen trial's number.

        Raises:
            UserError: no candidate keeps to the latency limit, or none completed.
        """
        search(
            self.context,
            plan=self._plan_trial,
            limit=self.limit,
            none_completed=self._none_completed,
        )
        rows = self.context.rows(stages.SEARCH)
        objective = self.context.sweep.search.objective
        numbers = choose_finalists(rows, n=N_STUDENTS, objective=objective)
        jobs = [Job(number, fold, 0) for number in numbers for fold in self._folds]
        self._train(STAGE, jobs, self._plan_student, self.context.finalist_files)
        development = self.prepared.rows(self.prepared.split.development_ids)
        labels = self.prepared.scored_labels[development]
        out_of_fold = {
            number: self._out_of_fold(number, self.context.finalist_files) for number in numbers
        }
        scores = {number: main_score(out_of_fold[number], labels) for number in numbers}
        best = max(numbers, key=scores.__getitem__)
        listed = ", ".join(f"trial {n} {scores[n]:.1%}" for n in numbers)
        metric = "mAP" if self.prepared.multi_label else "accuracy"
        self.context.progress.stage(
            "students", f"out-of-fold {metric} {listed}: trial {best} is the student"
        )
        return best

    def train_final(self, number: int) -> StudentPredictions:
        """Trains the student on all development rows; gives its predictions."""
        self._train(
            STAGE, [self._final_job(number)], self._plan_student, self.context.finalist_files
        )
        return self._predictions(number, self.context.finalist_files)

    def prune(self, number: int) -> StudentPredictions:
        """Prunes the final student and those of the folds, and fine-tunes each.

        Raises:
            UserError: its architecture cannot be pruned.
        """
        row = self._row(number)
        self._pruned_config(row)  # refused before anything is trained
        jobs = [*(Job(number, fold, 0) for fold in self._folds), self._final_job(number)]
        self._train(PRUNED, jobs, self._plan_pruned, self._pruned_files)
        return self._predictions(number, self._pruned_files)

    def architecture(self, number: int) -> str:
        """The architecture of a trial."""
        return str(self._row(number).facts["architecture"])

    def weights(self, job: Job, *, pruned: bool = False) -> Any:
        """The checkpoint folder of a student."""
        return (self._pruned_files if pruned else self.context.finalist_files)(job).weights

    @property
    def _folds(self) -> range:
        return range(self.prepared.split.n_folds)

    @property
    def limit(self) -> ModelLimit:
        """The limit on a student, which is one network."""
        return ModelLimit(self.limit_ms)

    def _final_job(self, number: int) -> Job:
        """The training on all development rows; its fold number is the one after the last."""
        return Job(number, self.prepared.split.n_folds, 0)

    def _row(self, number: int) -> Row:
        return self.context.rows(stages.SEARCH)[str(number)]

    def _plan_trial(self, candidate: Candidate, number: int) -> TrialPlan:
        planned = plan_trial(self.context.resolved, self.prepared, candidate, number)
        targets = self.teacher.targets(self.prepared, SEARCH_FOLD)
        return replace(planned, targets=targets, limit=self.limit, measure_latency=False)

    def _plan_student(self, job: Job) -> TrialPlan:
        candidate = candidate_of(self._row(job.number))
        held_out = job if job.fold in self._folds else replace(job, fold=SEARCH_FOLD)
        planned = plan_finalist(self.context.resolved, self.prepared, candidate, held_out)
        targets = self.teacher.targets(self.prepared, job.fold)
        train = {**planned.train, "max_epochs": EPOCH_FACTOR * planned.train["max_epochs"]}
        planned = replace(planned, targets=targets, train=train, measure_latency=False)
        if job.fold in self._folds:
            return planned
        rows = self.prepared.rows(self.prepared.split.development_ids)
        return replace(
            planned,
            train_rows=rows,
            valid_rows=rows[:N_UNUSED_VALID_ROWS],
            no_holdout=True,
            seed=derive_seed(
                self.context.sweep.search.seed, Purpose.STUDENT, job.number, job.fold, job.seed
            ),
            folder=str(self.context.finalist_files(job).root.absolute()),
        )

    def _plan_pruned(self, job: Job) -> TrialPlan:
        planned = self._plan_student(job)
        train = dict(planned.train)
        train["max_epochs"] = max(1, round(FINE_TUNING_SHARE * train["max_epochs"]))
        train |= {name: FINE_TUNING_SHARE * train[name] for name in ("lr", "sgd_lr")}
        return replace(
            planned,
            config=self._pruned_config(self._row(job.number)),
            train=train,
            start=str(self.context.finalist_files(job).weights.absolute()),
            folder=str(self._pruned_files(job).root.absolute()),
        )

    def _pruned_config(self, row: Row) -> Mapping[str, Any]:
        name = str(row.facts["architecture"])
        config = load_architecture(name).Config(**row.facts["config"])
        return dict(to_plain_values(pruned_config(name, config, KEPT_WIDTH)))

    def _pruned_files(self, job: Job) -> TrialPaths:
        return self.context.paths.pruned_student(job.number, fold=job.fold, seed=job.seed)

    def _train(
        self,
        stage: str,
        jobs: Sequence[Job],
        plan: Callable[[Job], TrialPlan],
        files: Callable[[Job], TrialPaths],
    ) -> None:
        """Runs the jobs that have not completed yet.

        Raises:
            UserError: one of them failed.
        """
        rows = self.context.rows(stages.SEARCH)
        finalist_stage = FinalistStage(
            study=self.context.sweep.name,
            jobs=jobs,
            plan=plan,
            keep=lambda job, result: self._keep(files(job), job, result),
            facts=lambda number: rows[str(number)].facts,
            files=files,
            stage=stage,
        )
        ended = self.context.rows(stage)
        n_before = sum(job.key in ended and ended[job.key].state == "COMPLETE" for job in jobs)
        if n_before == len(jobs):
            return
        with self.context.display(stage.removesuffix("s"), len(jobs), n_before=n_before) as display:
            trials = FinalistTrials(finalist_stage, self.context.ledger, display)
            self.context.train(trials)
        ended = self.context.rows(stage)
        for job in jobs:
            if ended[job.key].state != "COMPLETE":
                raise UserError(
                    f"the student of {job.name} did not complete: {ended[job.key].reason}; fix "
                    f"that, then type the same again: completed trainings are kept"
                )

    def _keep(self, files: TrialPaths, job: Job, result: TrialResult) -> None:
        split = self.prepared.split
        if result.extra_proba is None:
            raise ValueError(f"student {job.key} gave no test predictions")
        parts = {"test": PredictionPart(split.test_ids, result.extra_proba)}
        if job.fold in self._folds:
            parts["valid"] = PredictionPart(split.valid_ids(job.fold), result.valid_proba)
        predictions.write_predictions(
            files.predictions, parts, split=split.hash, multi_label=self.prepared.multi_label
        )
        self.context.warn_left_out(job.name, result.left_out)

    def _out_of_fold(self, number: int, files: Callable[[Job], TrialPaths]) -> Proba:
        split = self.prepared.split
        at = {track: i for i, track in enumerate(split.development_ids)}
        found = np.zeros((len(at), len(self.prepared.class_names)), np.float32)
        for fold in self._folds:
            ids = split.valid_ids(fold)
            path = files(Job(number, fold, 0)).predictions
            parts = predictions.read_predictions(path, {"valid": ids}, split=split.hash)
            found[[at[track] for track in ids]] = parts["valid"].proba
        return found

    def _predictions(self, number: int, files: Callable[[Job], TrialPaths]) -> StudentPredictions:
        split, final = self.prepared.split, self._final_job(number)
        parts = predictions.read_predictions(
            files(final).predictions, {"test": split.test_ids}, split=split.hash
        )
        jobs = (*(Job(number, fold, 0) for fold in self._folds), final)
        return StudentPredictions(self._out_of_fold(number, files), parts["test"].proba, jobs)

    def _none_completed(self, rows: Mapping[str, Row]) -> str:
        slow = [row for row in rows.values() if row.facts.get("failure") == OVER_LIMIT]
        if not slow:
            return no_trial_completed(rows)
        fastest = min(slow, key=_ms)
        return (
            f"no candidate keeps to {self.limit_ms:g} ms: {len(slow)} of {len(rows)} were too "
            f"slow, the fastest took {_ms(fastest):.1f} ms ({fastest.facts['architecture']}); "
            f"raise the limit: --target-ms {np.ceil(1.2 * _ms(fastest)):g}"
        )


def _ms(row: Row) -> float:
    """The latency of a candidate that was too slow."""
    cost = NetworkCost.of_facts(row.facts)
    return math.nan if cost is None else model_cost([(cost, 1)])[0]
