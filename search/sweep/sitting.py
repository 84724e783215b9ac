"""One sitting of a sweep: its search, finalists, baselines and verdict, one after the other."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from chorale.cluster.base import Trials
from chorale.datasets.atomic import write_json, write_text
from chorale.datasets.errors import UserError
from chorale.datasets.seeds import Purpose, seed_of
from chorale.datasets.splitting.split import SEARCH_FOLD
from chorale.datasets.store.feature_store import FeatureStore
from chorale.search.config.resolve import Resolved
from chorale.search.config.schema import to_yaml
from chorale.search.config.space import Candidate
from chorale.search.console.events import Listeners
from chorale.search.console.progress import Progress, TrialsDisplay, states
from chorale.search.data.prepare import Prepared, truth_of
from chorale.search.evaluation.candidates import read_members
from chorale.search.ledger import predictions, stages
from chorale.search.ledger.ledger import Ledger, Row
from chorale.search.ledger.predictions import Part
from chorale.search.ledger.stages import Job
from chorale.search.paths import TrialPaths
from chorale.search.report import report
from chorale.search.report.tensorboard import HParamsWriter
from chorale.search.study import finalists
from chorale.search.study.finalists import FinalistTrials, Finals
from chorale.search.study.pruner import FEWEST_STEPS
from chorale.search.study.study import Study, StudyTrials
from chorale.search.sweep.gpu_shares import Sized, learnt
from chorale.search.sweep.placing import Placed
from chorale.search.sweep.stage import Lessons, make_meter, make_watch
from chorale.search.sweep.workers import Workers
from chorale.search.training.plan import plan_finalist, plan_trial
from chorale.search.training.run_trial import TrialPlan, TrialResult, run_trial, steps_per_epoch

if TYPE_CHECKING:
    from chorale.search.baselines.baselines import Baselines


@dataclass
class Sitting:
    """One sitting of a sweep: what its stages share."""

    resolved: Resolved
    prepared: Prepared
    ledger: Ledger
    crew: Workers
    progress: Progress
    was_complete: bool
    lessons: Lessons
    began: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self.sweep = self.resolved.sweep
        self.paths = self.sweep.paths
        self._spent_before_s = self.ledger.spent_s(self.sweep.name)

    def elapsed_s(self) -> float:
        """Wall time of this sitting, from the start of the command, in seconds."""
        return time.perf_counter() - self.began

    def run(self) -> None:
        """All stages after the data's, up to `report.json`."""
        write_text(self.paths.sweep_yaml, to_yaml(self.sweep))
        write_json(self.paths.split_json, self.prepared.split.to_json())
        n_before = self._n_ended()
        self._search()
        jobs = self._finals()
        if self.was_complete and self._n_ended() == n_before:
            self.progress.stage("report", "nothing new was trained, so nothing is looked at again")
            return
        finished = self._finished(jobs)
        members, left_out = read_members(self.paths, self.prepared.split, finished)
        for line in left_out:
            self.progress.stage("finalists", escape(line))
        if self.lessons.allies is not None:
            allies, told = self.lessons.allies(self.resolved, self.prepared, self.ledger)
            members += allies
            for line in told:
                self.progress.stage("finalists", escape(line))
        # the search does not wait for these
        from chorale.search.evaluation.final_evaluation import judge
        from chorale.search.report.tensorboard_finalists import write_board

        baselines = self._baselines()
        with self.progress.doing("ensembles"):
            judged = judge(self.resolved, self.prepared, self.ledger, members, baselines)
        for line in judged.more["cautions"]:
            self.progress.stage("caution", escape(line))
        with self.progress.doing("report"):
            truth = truth_of(self.prepared)
            write_board(self.paths, truth, judged.members, judged.headline)
            report.write(self.resolved, self.prepared, self.ledger, judged, self._cost())

    def _search(self) -> None:
        """Stage one: the study."""
        sweep = self.sweep
        n_before = len(self.ledger.rows(sweep.name, stages.SEARCH))
        meter = make_meter(
            self.resolved,
            self.prepared,
            self.crew,
            wall_s=self._wall_s,
            n_more_finalists=int(self.lessons.sentinel is not None),
        )
        told = Study(
            name=sweep.name,
            space=self.resolved.space,
            search=sweep.search,
            meter=meter,
            plan=self._plan_trial,
            keep=self._keep_trial,
            warm=lambda: self.lessons.points(self.resolved, self.prepared, self.ledger),
            watch=make_watch(
                self.resolved,
                self.prepared,
                self.ledger,
                lambda line: self.progress.stage("search", escape(line)),
            ),
            files=self.paths.trial,
            steps_per_epoch=steps_per_epoch,
            n_enough=sweep.finalists.configs,
        )
        display = self._display(
            "trial", meter.n_trials, n_before=n_before, forecast_s=meter.forecast_s
        )
        hparams = HParamsWriter(lambda number: self.paths.trial(number).root)
        trials = StudyTrials(told, self.ledger, Listeners((display, hparams)))
        for note in trials.notes:
            self.progress.stage("search", note)
        with display, self.progress.doing("search", display.beat):
            self.crew.runner.run(self._placed(trials), run_trial)
        self._say_left_out("the search", hparams.left_out)
        if trials.ended_by() not in (None, "budget.trials"):
            self.progress.stage("search", f"ended by {trials.ended_by()}")
        if trials.too_young:
            self.progress.stage(
                "search",
                f"{len(trials.too_young)} trials were behind and not pruned: by then they had made "
                f"fewer than {FEWEST_STEPS} steps",
            )
        trials.finish()
        rows = self.ledger.rows(sweep.name, stages.SEARCH)
        self.progress.stage("search", states(rows))
        if not any(row.state == "COMPLETE" for row in rows.values()):
            raise UserError(self._nothing_finished(rows))

    def _plan_trial(self, candidate: Candidate, number: int) -> TrialPlan:
        return plan_trial(self.resolved, self.prepared, candidate, number)

    def _nothing_finished(self, rows: Mapping[str, Row]) -> str:
        return nothing_finished(rows)

    def _finals(self) -> list[Job]:
        """Stage two: the finalists on every fold; gives all their jobs."""
        sweep = self.sweep
        rows = self.ledger.rows(sweep.name, stages.SEARCH)
        n = sweep.finalists.configs
        numbers = finalists.choose(rows, n=n, objective=sweep.search.objective)
        if self.lessons.sentinel is not None:
            sentinel = finalists.repeated(rows, self.lessons.sentinel)
            numbers += [] if sentinel is None or sentinel in numbers else [sentinel]
        jobs = [
            Job(number, fold, seed)
            for number in numbers
            for fold in range(self.prepared.split.n_folds)
            for seed in range(sweep.finalists.seeds)
        ]
        told = Finals(
            study=sweep.name,
            jobs=jobs,
            plan=lambda job: plan_finalist(
                self.resolved, self.prepared, candidate_of(rows[str(job.number)]), job
            ),
            keep=self._keep_finalist,
            facts=lambda number: rows[str(number)].facts,
            files=self._files,
        )
        n_before = sum(
            row.state == "COMPLETE"
            for row in self.ledger.rows(sweep.name, stages.FINALISTS).values()
        )
        display = self._display("final", len(jobs), n_before=n_before)
        with display, self.progress.doing("finalists", display.beat):
            trials = FinalistTrials(told, self.ledger, display)
            self.crew.runner.run(self._placed(trials), run_trial)
        self.progress.stage(
            "finalists",
            f"trials {', '.join(map(str, numbers))} on {self.prepared.split.n_folds} folds",
        )
        return jobs

    def _placed(self, trials: Trials) -> Trials:
        """With where each one's files are, and what it takes by what such were measured to need."""
        trials = Placed(trials)
        if not self.crew.sized:
            return trials
        rows = self.ledger.rows(self.sweep.name, stages.SEARCH)
        return Sized(trials, self.crew.resources, learnt(rows.values()))

    def _n_ended(self) -> int:
        both = (stages.SEARCH, stages.FINALISTS)
        return sum(len(self.ledger.rows(self.sweep.name, stage)) for stage in both)

    def _finished(self, jobs: list[Job]) -> dict[int, list[Job]]:
        """Trial number -> its jobs, of the finalists whose every job came to its end."""
        rows = self.ledger.rows(self.sweep.name, stages.FINALISTS)
        by_number: dict[int, list[Job]] = {}
        for job in jobs:
            by_number.setdefault(job.number, []).append(job)
        whole = {
            number: mine
            for number, mine in by_number.items()
            if all(job.key in rows and rows[job.key].state == "COMPLETE" for job in mine)
        }
        for number in by_number.keys() - whole.keys():
            known = [rows[job.key].reason for job in by_number[number] if job.key in rows]
            reason = next(filter(None, known), "nobody knows why it did not come to its end")
            self.progress.stage("finalists", escape(f"trial {number} is left out: {reason}"))
        if not whole:
            reasons = "; ".join(sorted({row.reason for row in rows.values()} - {""})) or "unknown"
            raise UserError(f"no finalist came to its end: {reasons}; mend it and --resume")
        return whole

    def _baselines(self) -> "Baselines":
        """What needs no network: the bar that every trial should clear."""
        # scikit-learn is not waited for before
        from chorale.search.baselines.baseline_plan import limit_s
        from chorale.search.baselines.baselines import choose_features, run_baselines

        prepared = self.prepared
        seed = seed_of(self.sweep.search.seed, Purpose.BASELINES)
        stores = {name: FeatureStore.open(folder) for name, folder in prepared.stores.items()}
        data: dict[str, Any] = {"labels": prepared.labels, "split": prepared.split, "seed": seed}
        rows = self.ledger.rows(self.sweep.name, stages.SEARCH)
        searched_s = sum(row.facts.get("elapsed_s", 0.0) for row in rows.values())
        with self.progress.doing("baselines") as tell, self.crew.mapping() as run:
            tell("choosing the features")
            name, chosen_by = choose_features(stores, run=run, **data)
            allowed_s = limit_s(searched_s)
            made = run_baselines(stores[name], run=run, limit_s=allowed_s, tell=tell, **data)
        names = ", ".join(one.name for one in made.made) or "none"
        self.progress.stage("baselines", f"on {name}: {names}")
        for line in made.left_out:
            self.progress.stage("baselines", line)
        return replace(made, chosen_by=chosen_by)

    def _cost(self) -> report.Cost:
        return report.Cost(
            wall_s=self._spent_before_s + self.elapsed_s(),
            cpus_per_trial=self.crew.resources.cpus,
            gpus_per_trial=self.crew.resources.gpus,
            trials_at_once=self.crew.trials_at_once,
        )

    def _keep_trial(self, number: int, result: TrialResult) -> None:
        split = self.prepared.split
        valid = Part(split.valid_ids(SEARCH_FOLD), result.valid_proba)
        predictions.write(self.paths.trial(number).predictions, {"valid": valid}, split=split.hash)
        self._say_left_out(f"trial {number}", result.left_out)

    def _keep_finalist(self, job: Job, result: TrialResult) -> None:
        split = self.prepared.split
        if result.extra_proba is None:
            raise ValueError(f"finalist {job.key} brought no test predictions")
        parts = {
            "valid": Part(split.valid_ids(job.fold), result.valid_proba, result.valid_embeddings),
            "test": Part(split.test_ids, result.extra_proba, result.extra_embeddings),
        }
        predictions.write(self._files(job).predictions, parts, split=split.hash)
        self._say_left_out(job.name, result.left_out)

    def _say_left_out(self, name: str, what: Sequence[str]) -> None:
        if what:
            self.progress.stage("disk full", f"{name} goes on without: {'; '.join(what)}")

    def _files(self, job: Job) -> TrialPaths:
        return self.paths.finalist(job.number, fold=job.fold, seed=job.seed)

    def _display(self, what: str, n: int, **more: Any) -> TrialsDisplay:
        objective = self.sweep.search.objective
        return TrialsDisplay(self.progress.console, what, n, objective=objective, **more)

    def _wall_s(self) -> float:
        return self._spent_before_s + self.elapsed_s()


def candidate_of(row: Row) -> Candidate:
    """What a trial of the search was."""
    names = ("architecture", "features", "config", "train")
    return Candidate(**{name: row.facts[name] for name in names})


def nothing_finished(rows: Mapping[str, Row]) -> str:
    """Why a search has nothing to show, and what to type."""
    reasons = [row.reason for row in rows.values() if row.state == "FAIL"]
    if reasons:
        most = max(set(reasons), key=reasons.count)
        return (
            f"none of {len(rows)} trials came to its end; most often ({reasons.count(most)}): "
            f"{most}; mend that, then start again with another --name"
        )
    return (
        f"none of {len(rows)} trials came to its end within the budget; raise --budget.minutes or "
        f"--budget.trials and --resume"
    )
