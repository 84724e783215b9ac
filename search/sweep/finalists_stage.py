"""The second stage of training: the search's best trials, retrained on every fold.

`search.sweep.stages` calls it after the search, and combines the members that it gives.
"""

from collections.abc import Sequence
from typing import Any

from chorale.datasets.errors import UserError
from chorale.search.config.schema import MOST_SEEDS
from chorale.search.evaluation.candidates import read_members
from chorale.search.evaluation.member_names import list_seeds
from chorale.search.evaluation.members import Member
from chorale.search.ledger import predictions, stages
from chorale.search.ledger.predictions import PredictionPart
from chorale.search.ledger.stages import Job
from chorale.search.study.finalist_choice import choose_finalists, find_repeat
from chorale.search.study.finalists import FinalistStage, FinalistTrials
from chorale.search.study.trial_outcome import OUT_OF_TIME
from chorale.search.sweep.context import SweepContext
from chorale.search.sweep.search_stage import candidate_of
from chorale.search.sweep.time_shares import finalist_epochs, finalists_limit
from chorale.search.training.plan import plan_finalist
from chorale.search.training.trial_plan import TrialResult


def cross_validate(context: SweepContext) -> list[Job]:
    """Retrains the finalists on every fold and with every seed; gives all their jobs.

    With `budget.minutes`, more candidates follow the best ones while time is left, then further
    seeds of them, unless the sweep file sets their number, and those for which none is left are not
    started. The jobs of a finalist are those of the seeds that are used; of one that did not
    complete, those that it needed.
    """
    sweep, n_folds = context.sweep, context.prepared.split.n_folds
    rows = context.rows(stages.SEARCH)
    settings = sweep.finalists
    is_limited = context.schedule.is_limited  # then no time for what will not be a member
    n_most = settings.most_configs if is_limited else settings.n_configs
    numbers = choose_finalists(
        rows, n=n_most, objective=sweep.search.objective, only_near=is_limited
    )
    if context.earlier.drift_check is not None:
        repeated = find_repeat(rows, context.earlier.drift_check)
        if repeated is not None:  # early, so that there is time for it
            numbers = [*numbers[:1], repeated, *(n for n in numbers[1:] if n != repeated)]
            numbers = list(dict.fromkeys(numbers))
    needed = _jobs(numbers, range(settings.n_seeds), n_folds)
    further: list[Job] = []
    if sweep.seeds_by_time:
        further = _jobs(numbers, range(settings.n_seeds, MOST_SEEDS), n_folds)
    epochs = finalist_epochs(context, numbers)
    finals = FinalistStage(
        study=sweep.name,
        jobs=needed,
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
        further=further,
    )
    done = [row for row in context.rows(stages.FINALISTS).values() if row.state == "COMPLETE"]
    ends: dict[str, Any] = {"n": len(needed)}
    if further:  # their number is not known beforehand
        ends = {"n": None, "forecast_s": lambda: max(0.0, context.schedule.left_s())}
    display = context.display("final", n_before=len(done), **ends)
    trials = FinalistTrials(finals, context.ledger, display)
    with (
        display,
        context.progress.activity("finalists", display.print_status),
        context.monitor.training(n_waiting=lambda: trials.n_waiting, forecast_s=display.forecast_s),
    ):
        context.train(trials)
    trained = [number for number in numbers if number not in trials.not_started]
    names = ", ".join(map(str, trained)) or "none: no time was left"
    complete = stages.complete_seeds(context.rows(stages.FINALISTS), n_folds)
    used = {number: settings.used_seeds(complete.get(number, ())) for number in trained}
    seeds_text = list_seeds(used)
    context.progress.stage(
        "finalists",
        f"trials {names} on {n_folds} folds" + (f"; {seeds_text}" if seeds_text else ""),
    )
    return [
        job
        for number, seeds in used.items()
        for job in _jobs([number], seeds or range(settings.n_seeds), n_folds)
    ]


def _jobs(numbers: Sequence[int], seeds: Sequence[int], n_folds: int) -> list[Job]:
    """Seed by seed, finalist by finalist."""
    return [
        Job(number, fold, seed) for seed in seeds for number in numbers for fold in range(n_folds)
    ]


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
