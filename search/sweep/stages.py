"""The stages of a sweep, in the order in which they run: search, finalists, evaluation, report.

Each stage leaves its results on disk and in the ledger, so that a sweep that was interrupted goes
on from the stage it had reached. `search.sweep.run` prepares the data and opens the study before.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from chorale.datasets.atomic import write_json, write_text
from chorale.datasets.config import to_plain_values
from chorale.datasets.errors import UserError
from chorale.datasets.seeds import Purpose, derive_seed
from chorale.datasets.splitting.split import SEARCH_FOLD
from chorale.datasets.store.feature_store import FeatureStore
from chorale.search.config.schema import sweep_yaml_text
from chorale.search.config.space import Candidate
from chorale.search.console.events import StudyListeners
from chorale.search.console.progress import state_counts
from chorale.search.data.prepare import ground_truth_of
from chorale.search.evaluation.candidates import read_members
from chorale.search.evaluation.members import Member
from chorale.search.ledger import predictions, stages
from chorale.search.ledger.ground_truth import write_ground_truth
from chorale.search.ledger.ledger import Row
from chorale.search.ledger.predictions import PredictionPart
from chorale.search.ledger.stages import Job
from chorale.search.report import report
from chorale.search.report.tensorboard import HParamsWriter
from chorale.search.study import finalists
from chorale.search.study.early_stopping import EnsembleEarlyStopping
from chorale.search.study.finalists import FinalistStage, FinalistTrials
from chorale.search.study.pruner import MIN_OPTIMIZER_STEPS
from chorale.search.study.study import Study, StudyTrials
from chorale.search.study.trial_outcome import OUT_OF_TIME
from chorale.search.sweep.context import SweepContext
from chorale.search.sweep.time_shares import (
    affordable_kinds,
    finalist_epochs,
    finalists_limit,
    first_baselines_limit,
    last_baselines_limit,
    search_meter,
)
from chorale.search.training.plan import plan_finalist, plan_trial
from chorale.search.training.run_trial import steps_per_epoch
from chorale.search.training.trial_plan import TrialPlan, TrialResult

if TYPE_CHECKING:
    from chorale.search.baselines.baselines import Baselines

MAX_COST = 1.5
"""A trial that would take longer than the time of one by this factor is stopped."""

MORE_TIME = 3.0
"""Baselines that time cut short are fitted again where this many times the seconds are allowed;
fewer would go into what was fitted before."""

TIME_LIMITS = ("--finish", "budget.minutes", "budget.core_hours", "budget.gpu_hours")

PlanTrial = Callable[[Candidate, int], TrialPlan]
"""A candidate and its trial number -> its training run."""


def run_stages(context: SweepContext) -> None:
    """All stages after the data's, up to `report.json`.

    Raises:
        UserError: no trial or no finalist completed.
    """
    write_text(context.paths.sweep_yaml, sweep_yaml_text(context.sweep))
    write_json(context.paths.split_json, context.prepared.split.to_json())
    write_ground_truth(context.paths, ground_truth_of(context.prepared))
    n_before = _n_ended(context)
    if not context.was_complete:  # the first result: a model, whatever happens later
        with context.timed("baselines"):
            fit_baselines(context, **first_baselines_limit(context))
    jobs = []
    if context.trains_networks:
        with context.timed("search"):
            search(context)
        with context.timed("finalists"):
            jobs = cross_validate(context)
    if context.was_complete and _n_ended(context) == n_before:
        context.progress.stage("report", "nothing new was trained: the report stays as it is")
        return
    with context.timed("baselines"):
        baselines = fit_baselines(context, **last_baselines_limit(context))
    members = collect_members(context, jobs, has_baselines=bool(baselines.fitted))
    evaluate(context, members, baselines)


def search(
    context: SweepContext,
    *,
    plan: PlanTrial | None = None,
    none_completed: Callable[[Mapping[str, Row]], str] | None = None,
) -> None:
    """Stage one: runs the Optuna study on the search fold until its budget is spent.

    Args:
        context: the sweep.
        plan: makes a trial's training run; by default `training.plan.plan_trial`.
        none_completed: the error where no trial completed; by default `no_trial_completed`.

    Raises:
        UserError: no trial completed.
    """
    resolved, prepared, sweep = context.resolved, context.prepared, context.sweep
    meter = search_meter(context)
    study = Study(
        name=sweep.name,
        space=resolved.space,
        search=sweep.search,
        meter=meter,
        plan=plan or (lambda one, number: plan_trial(resolved, prepared, one, number)),
        keep=lambda number, result: _keep_trial(context, number, result),
        warm=lambda: context.earlier.points(resolved, prepared, context.ledger),
        early_stopping=_early_stopping(context),
        files=context.paths.trial,
        steps_per_epoch=steps_per_epoch,
        max_perfect_trials=sweep.finalists.n_configs,
        costs=context.costs,
        max_trial_s=MAX_COST * context.trial_limit_s,
    )
    n_before = len(context.rows(stages.SEARCH))
    display = context.display(
        "trial", meter.n_trials, n_before=n_before, forecast_s=meter.forecast_s
    )
    hparams = HParamsWriter(lambda number: context.paths.trial(number).root)
    trials = StudyTrials(study, context.ledger, StudyListeners((display, hparams)))
    for note in trials.notes:
        context.progress.stage("search", note)
    with display, context.progress.activity("search", display.print_status):
        context.train(trials)
    context.warn_left_out("the search", hparams.left_out)
    ended_by = "--finish" if context.finish else trials.ended_by()
    if ended_by not in (None, "budget.trials"):
        context.progress.stage("search", f"ended by {ended_by}")
    if trials.too_few_steps:
        context.progress.stage(
            "search",
            f"{len(trials.too_few_steps)} trials were behind and not pruned: by then they had made "
            f"fewer than {MIN_OPTIMIZER_STEPS} steps",
        )
    trials.finish()
    rows = context.rows(stages.SEARCH)
    if rows:
        context.progress.stage("search", state_counts(rows))
    if any(row.state == "COMPLETE" for row in rows.values()):
        return
    out_of_time = ended_by in TIME_LIMITS and not _only_failures(rows)
    if none_completed is not None or not out_of_time:
        raise UserError((none_completed or no_trial_completed)(rows))
    what = "the best parts of them are used" if rows else "no network is trained"
    context.progress.stage("search", f"no trial ended in time: {what}")


def cross_validate(context: SweepContext) -> list[Job]:
    """Stage two: retrains the finalists on every fold and with every seed; gives all their jobs.

    With `budget.minutes`, more candidates follow the best ones while time is left, unless the sweep
    file sets their number, and those for which none is left are not started.
    """
    sweep, n_folds = context.sweep, context.prepared.split.n_folds
    rows = context.rows(stages.SEARCH)
    settings = sweep.finalists
    is_limited = context.schedule.is_limited  # then no time for what will not be a member
    n_most = settings.most_configs if is_limited else settings.n_configs
    numbers = finalists.choose_finalists(
        rows, n=n_most, objective=sweep.search.objective, only_near=is_limited
    )
    if context.earlier.drift_check is not None:
        repeated = finalists.find_repeat(rows, context.earlier.drift_check)
        if repeated is not None:  # early, so that there is time for it
            numbers = [*numbers[:1], repeated, *(n for n in numbers[1:] if n != repeated)]
            numbers = list(dict.fromkeys(numbers))
    jobs = [
        Job(number, fold, seed)
        for seed in range(sweep.finalists.seeds)
        for number in numbers
        for fold in range(n_folds)
    ]
    epochs = finalist_epochs(context, numbers)
    finals = FinalistStage(
        study=sweep.name,
        jobs=jobs,
        plan=lambda job: plan_finalist(
            context.resolved,
            context.prepared,
            candidate_of(rows[str(job.number)]),
            job,
            max_epochs=epochs[job.number],
        ),
        keep=lambda job, result: _keep_finalist(context, job, result),
        facts=lambda number: rows[str(number)].facts,
        files=context.finalist_files,
        time_limit=finalists_limit(context, epochs),
    )
    done = [row for row in context.rows(stages.FINALISTS).values() if row.state == "COMPLETE"]
    display = context.display("final", len(jobs), n_before=len(done))
    with display, context.progress.activity("finalists", display.print_status):
        trials = FinalistTrials(finals, context.ledger, display)
        context.train(trials)
    trained = [number for number in numbers if number not in trials.not_started]
    names = ", ".join(map(str, trained)) or "none: no time was left"
    context.progress.stage("finalists", f"trials {names} on {n_folds} folds")
    return [job for job in jobs if job.number in trained]


def collect_members(
    context: SweepContext, jobs: Sequence[Job], *, has_baselines: bool
) -> list[Member]:
    """The predictions of all finalists that completed, and of earlier studies' members.

    Raises:
        UserError: no finalist completed, for another reason than time or without a baseline.
    """
    finished = completed_finalists(context, jobs, may_be_none=has_baselines)
    members, notes = read_members(context.paths, context.prepared.split, finished)
    if context.earlier.members is not None:
        more, added = context.earlier.members(context.resolved, context.prepared, context.ledger)
        members, notes = members + more, notes + added
    for note in notes:
        context.progress.stage("finalists", note)
    return members


def completed_finalists(
    context: SweepContext, jobs: Sequence[Job], *, may_be_none: bool = False
) -> dict[int, list[Job]]:
    """Trial number -> its jobs, of the finalists whose every job completed; names the others.

    Raises:
        UserError: none completed; with `may_be_none` only if one of them failed.
    """
    rows = context.rows(stages.FINALISTS)
    by_number: dict[int, list[Job]] = {}
    for job in jobs:
        by_number.setdefault(job.number, []).append(job)
    completed = {
        number: mine
        for number, mine in by_number.items()
        if all(job.key in rows and rows[job.key].state == "COMPLETE" for job in mine)
    }
    for number in by_number.keys() - completed.keys():
        reasons = [rows[job.key].reason for job in by_number[number] if job.key in rows]
        reason = next(filter(None, reasons), "it did not complete, for an unknown reason")
        context.progress.stage("finalists", f"trial {number} is left out: {reason}")
    reasons = sorted({row.reason for row in rows.values()} - {""})
    if not completed and not (may_be_none and set(reasons) <= {OUT_OF_TIME}):
        raise UserError(
            f"no finalist completed: {'; '.join(reasons) or 'unknown'}; fix that and --resume"
        )
    return completed


def fit_baselines(
    context: SweepContext, *, limit_s: float = math.inf, wall_s: float = math.inf
) -> "Baselines":
    """Classical classifiers on the same rows and folds.

    Within `limit_s` seconds of all fits together, and of `wall_s` seconds.

    Those of an earlier call or an earlier session are read, unless time did not allow all of them
    then, and clearly more is allowed now.
    """
    # scikit-learn is imported only now: nothing before waits for it
    from chorale.search.baselines.baselines import choose_features, run_baselines
    from chorale.search.evaluation.stored_baselines import read_baselines, write_baselines

    prepared, progress = context.prepared, context.progress
    found = read_baselines(context.paths, prepared.split)
    n_at_once = context.pool.trials_at_once
    allowed_s = min(limit_s, n_at_once * wall_s)
    if found is not None and not (found.left_out and allowed_s > MORE_TIME * found.limit_s):
        return found
    stores = {name: FeatureStore.open(folder) for name, folder in prepared.stores.items()}
    data: dict[str, Any] = {
        "labels": prepared.labels,
        "unscored": prepared.unscored,
        "split": prepared.split,
        "seed": derive_seed(context.sweep.search.seed, Purpose.BASELINES),
    }
    with progress.activity("baselines") as tell, context.pool.mapping() as run:
        tell("choosing the features")
        choice = choose_features(stores, run=run, **data)
        name = choice.name
        data |= {"limit_s": limit_s, "wall_s": wall_s, "n_at_once": n_at_once, "choice": choice}
        found = run_baselines(stores[name], run=run, progress=tell, **data)
    found = replace(found, feature_accuracies=choice.accuracies)
    config = context.resolved.features.get(name)
    write_baselines(
        context.paths,
        found,
        prepared.split,
        features_config={} if config is None else dict(to_plain_values(config)),
        n_classes=len(prepared.class_names),
        multi_label=prepared.multi_label,
    )
    names = ", ".join(one.name for one in found.fitted) or "none"
    progress.stage("baselines", f"on {name}: {names}")
    for line in found.left_out:
        progress.stage("baselines", line)
    return found


def evaluate(context: SweepContext, members: Sequence[Member], baselines: "Baselines") -> None:
    """The last stage: fits the ensembles, evaluates once on the test set, and writes the report."""
    from chorale.search.evaluation.final_evaluation import evaluate_from_bank
    from chorale.search.report.tensorboard_finalists import write_finalist_events

    resolved, prepared, progress = context.resolved, context.prepared, context.progress
    truth, sweep = ground_truth_of(prepared), context.sweep
    kinds, left_out = affordable_kinds(context)
    if left_out:
        progress.stage("ensembles", left_out)
    sweep = replace(sweep, ensemble=replace(sweep.ensemble, kinds=kinds))
    with progress.activity("ensembles"), context.timed("ensembles"):
        evaluation = evaluate_from_bank(sweep, truth, context.ledger, members, baselines.fitted)
    evaluation.details["baselines_made"] = baselines.as_dict()
    for line in evaluation.details["cautions"]:
        progress.stage("caution", line)
    with progress.activity("report"):
        write_finalist_events(
            context.paths,
            truth,
            evaluation.members,
            evaluation.chosen,
            seed=sweep.search.seed,
        )
        report.write_report(resolved, prepared, context.ledger, evaluation, context.cost())


def candidate_of(row: Row) -> Candidate:
    """The configuration that a trial of the search trained."""
    names = ("architecture", "features", "config", "train")
    return Candidate(**{name: row.facts[name] for name in names})


def no_trial_completed(rows: Mapping[str, Row]) -> str:
    """The error where no trial completed: the reason, and what to type."""
    reasons = [row.reason for row in rows.values() if row.state == "FAIL"]
    if reasons:
        most = max(set(reasons), key=reasons.count)
        return (
            f"none of {len(rows)} trials completed; most often ({reasons.count(most)}): {most}; "
            f"fix that, then start again with another --name"
        )
    return (
        f"none of {len(rows)} trials completed within the budget; raise --budget.minutes or "
        f"--budget.trials and --resume"
    )


def _only_failures(rows: Mapping[str, Row]) -> bool:
    """Whether trials ran, and all of them failed."""
    return bool(rows) and all(row.state == "FAIL" for row in rows.values())


def _early_stopping(context: SweepContext) -> EnsembleEarlyStopping | None:
    """Early stopping by the ensemble's out-of-fold score; None without `budget.patience`.

    Trials of earlier runs count; those whose predictions cannot be read are named.
    """
    sweep, split, labels = context.sweep, context.prepared.split, context.prepared.scored_labels
    if sweep.budget.patience is None:
        return None
    ids = split.valid_ids(SEARCH_FOLD)
    stopping = EnsembleEarlyStopping(
        labels[context.prepared.rows(ids)], patience=sweep.budget.patience
    )

    def read(number: int) -> np.ndarray:
        path = context.paths.trial(number).predictions
        return predictions.read_predictions(path, {"valid": ids}, split=split.hash)["valid"].proba

    for line in stopping.restore(context.rows(stages.SEARCH).values(), read):
        context.progress.stage("search", line)
    return stopping


def _keep_trial(context: SweepContext, number: int, result: TrialResult) -> None:
    split = context.prepared.split
    valid = PredictionPart(split.valid_ids(SEARCH_FOLD), result.valid_proba)
    path = context.paths.trial(number).predictions
    multi_label = context.prepared.multi_label
    predictions.write_predictions(path, {"valid": valid}, split=split.hash, multi_label=multi_label)
    context.warn_left_out(f"trial {number}", result.left_out)


def _keep_finalist(context: SweepContext, job: Job, result: TrialResult) -> None:
    split = context.prepared.split
    if result.extra_proba is None:
        raise ValueError(f"finalist {job.key} returned no test predictions")
    parts = {
        "valid": PredictionPart(
            split.valid_ids(job.fold), result.valid_proba, result.valid_embeddings
        ),
        "test": PredictionPart(split.test_ids, result.extra_proba, result.extra_embeddings),
    }
    predictions.write_predictions(
        context.finalist_files(job).predictions,
        parts,
        split=split.hash,
        multi_label=context.prepared.multi_label,
    )
    context.warn_left_out(job.name, result.left_out)


def _n_ended(context: SweepContext) -> int:
    return sum(len(context.rows(stage)) for stage in (stages.SEARCH, stages.FINALISTS))
