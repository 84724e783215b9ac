"""The first stage of training: one fold's Optuna study, until its budget is spent.

`search.sweep.stages` calls it, and `search.champion.compress.student` with plans of its own.
"""

from collections.abc import Callable, Mapping

import numpy as np

from chorale.datasets.errors import UserError
from chorale.datasets.splitting.split import SEARCH_FOLD
from chorale.search.config.schema import MOST_TRIALS
from chorale.search.config.space import Candidate
from chorale.search.console.events import StudyListeners
from chorale.search.console.progress import state_counts
from chorale.search.ledger import predictions, stages
from chorale.search.ledger.ledger import Row
from chorale.search.ledger.predictions import PredictionPart
from chorale.search.report.tensorboard import HParamsWriter
from chorale.search.study.early_stopping import EnsembleEarlyStopping
from chorale.search.study.pruner import MIN_OPTIMIZER_STEPS
from chorale.search.study.study import SearchStage, StudyTrials
from chorale.search.study.trial_outcome import OVER_LIMIT
from chorale.search.sweep.context import SweepContext
from chorale.search.sweep.time_shares import search_meter
from chorale.search.training.model_cost import ModelLimit
from chorale.search.training.plan import plan_trial
from chorale.search.training.run_trial import steps_per_epoch
from chorale.search.training.trial_plan import TrialPlan, TrialResult

MAX_COST = 1.5
"""A trial that would take longer than the time of one by this factor is stopped."""

TIME_LIMITS = ("--finish", "budget.minutes", "budget.core_hours", "budget.gpu_hours")

PlanTrial = Callable[[Candidate, int], TrialPlan]
"""A candidate and its trial number -> its training run."""


def search(
    context: SweepContext,
    *,
    plan: PlanTrial | None = None,
    limit: ModelLimit | None = None,
    none_completed: Callable[[Mapping[str, Row]], str] | None = None,
) -> None:
    """Runs the Optuna study on the search fold until its budget is spent.

    Args:
        context: the sweep.
        plan: makes a trial's training run; by default `training.plan.plan_trial`.
        limit: of these plans; by default the sweep's.
        none_completed: the error where no trial completed; by default `no_trial_completed`.

    Raises:
        UserError: no trial completed.
    """
    resolved, prepared, sweep = context.resolved, context.prepared, context.sweep
    meter = search_meter(context)
    study = SearchStage(
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
        limit=limit or ModelLimit.of(sweep, prepared.split.n_folds),
    )
    n_before = len(context.rows(stages.SEARCH))
    by_time = sweep.budget.trials is None and meter.n_trials == MOST_TRIALS
    n = None if by_time else lambda: meter.n_trials
    display = context.display("trial", n, n_before=n_before, forecast_s=meter.forecast_s)
    hparams = HParamsWriter(lambda number: context.paths.trial(number).root)
    trials = StudyTrials(study, context.ledger, StudyListeners((display, hparams)))
    for note in trials.notes:
        context.progress.stage("search", note)
    monitor = context.monitor

    def n_waiting() -> int | None:
        return None if n is None else max(0, n() - monitor.n_begun(stages.SEARCH))

    with (
        display,
        context.progress.activity("search", display.print_status),
        monitor.training(n_waiting=n_waiting, forecast_s=display.forecast_s),
    ):
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


def candidate_of(row: Row) -> Candidate:
    """The configuration that a trial of the search trained."""
    names = ("architecture", "features", "config", "train")
    return Candidate(**{name: row.facts[name] for name in names})


def no_trial_completed(rows: Mapping[str, Row]) -> str:
    """The error where no trial completed: the reason, and what to type."""
    failed = [row for row in rows.values() if row.state == "FAIL"]
    refused = [row for row in failed if row.facts.get("failure") == OVER_LIMIT]
    if refused and len(refused) == len(failed):
        return (
            f"none of {len(rows)} trials keeps to the limit; the last one: {refused[-1].reason}; "
            f"raise limit, or narrow the space to smaller networks or cheaper features, then start "
            f"again with another --name"
        )
    reasons = [row.reason for row in failed]
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
