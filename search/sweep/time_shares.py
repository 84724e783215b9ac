"""What each stage of a sweep may take: seconds for baselines, search and finalists, and epochs.

`search.study.schedule` divides the wall time; here it meets what a sweep has measured so far.
"""

import json
import math
from collections.abc import Mapping, Sequence

from chorale.datasets.atomic import write_json
from chorale.search.baselines import baseline_plan
from chorale.search.config import grid
from chorale.search.console.progress import duration_text
from chorale.search.ledger import stages
from chorale.search.study.budget import BudgetMeter
from chorale.search.study.finalists import TimeLimit
from chorale.search.study.schedule import RETRAINING_FACTOR, fusion_s
from chorale.search.sweep.context import SweepContext

FUSION = "fusion"

FREE_S = 5.0
"""Seconds of an ensemble that is fitted in any case."""

MIN_EPOCHS_SHARE = 0.2
"""The first finalist with a smaller share of its epochs is not worth training."""

MIN_SHARE_OF_LATER = 0.5
"""The same for a later one."""


def finalist_epochs(context: SweepContext, numbers: Sequence[int]) -> dict[int, int]:
    """Finalist -> the number of epochs of its retrainings.

    That is the sweep's, as far as time allows. The first one, in the order of `numbers`, for which
    it does not gets as many as fit, if that is a share of them worth training. Fewer ones are kept
    in a file, as a resumed retraining needs the same number.
    """
    path, most = context.paths.finalist_epochs_json, context.sweep.budget.n_epochs
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    epochs = {number: int(kept.get(str(number), most)) for number in numbers}
    if kept or not numbers or not context.schedule.is_limited:
        return epochs
    n_rounds = math.ceil(context.prepared.split.n_folds / context.pool.trials_at_once)
    left_s, least = context.schedule.left_s(), MIN_EPOCHS_SHARE
    for number in numbers:
        needed_s = n_rounds * _retraining_s(context, number, most)
        if needed_s <= left_s:
            left_s -= needed_s
        elif left_s >= least * needed_s:
            epochs[number] = max(1, math.floor(left_s / needed_s * most))
            write_json(path, {str(number): epochs[number]})
            break
        least = MIN_SHARE_OF_LATER
    return epochs


def _retraining_s(context: SweepContext, number: int, n_epochs: int) -> float:
    """The expected seconds of one retraining of a trial, which also predicts the test tracks."""
    facts, most = context.rows(stages.SEARCH)[str(number)].facts, context.sweep.budget.n_epochs
    n_trained = int(facts.get("n_epochs", most))  # missing in trials of older versions
    return RETRAINING_FACTOR * float(facts["elapsed_s"]) * n_epochs / max(1, n_trained)


def finalists_limit(context: SweepContext, epochs: Mapping[int, int]) -> TimeLimit | None:
    """The limit on the finalists' time; None without `budget.minutes`."""
    if not context.schedule.is_limited:
        return None
    return TimeLimit(
        context.schedule.left_s,
        lambda number: _retraining_s(context, number, epochs[number]),
        context.pool.trials_at_once,
    )


def first_baselines_limit(context: SweepContext) -> dict[str, float]:
    """The limits of `fit_baselines` before the search, as keyword arguments."""
    schedule = context.schedule
    if not schedule.is_limited:
        return {"limit_s": baseline_plan.limit_s(0.0)}
    if context.trains_networks:
        return {"wall_s": schedule.baselines_s()}
    return {"wall_s": max(0.0, schedule.left_s())}  # there is nothing else to do


def last_baselines_limit(context: SweepContext) -> dict[str, float]:
    """The limits of `fit_baselines` after the search: a share of it, and what time is left."""
    searched = context.rows(stages.SEARCH).values()
    searched_s = float(sum(row.facts.get("elapsed_s", 0.0) for row in searched))
    left_s = max(0.0, context.schedule.left_s())
    return {"limit_s": baseline_plan.limit_s(searched_s), "wall_s": left_s}


def affordable_kinds(context: SweepContext) -> tuple[tuple[str, ...], str]:
    """The kinds of ensembles that the time left allows, and a line about what is left out, or "".

    Only the fusion network takes long. Where the sweep file names it as its ensemble, it stays.
    """
    wanted, prepared = context.sweep.ensemble, context.prepared
    quiet_s = fusion_s(len(prepared.split.development_ids), len(prepared.class_names))
    expected_s = context.schedule.expected_s(quiet_s)
    left_s = context.schedule.limit_s - context.wall_s()
    if FUSION not in wanted.kinds or wanted.kind == FUSION or expected_s <= max(left_s, FREE_S):
        return wanted.kinds, ""
    why = f"{FUSION} is left out: it would take about {duration_text(expected_s)}"
    again = f"chorale ensemble {context.sweep.name} fits it"
    return tuple(kind for kind in wanted.kinds if kind != FUSION), f"{why}; {again}"


def search_meter(context: SweepContext) -> BudgetMeter:
    """The meter of the budget, the finalists' share set aside."""
    sweep, finals = context.sweep, context.sweep.finalists
    n_finalists = finals.most_configs if context.schedule.is_limited else finals.n_configs
    n_finalists += context.earlier.drift_check is not None
    n_folds = context.prepared.split.n_folds
    meter = BudgetMeter(
        sweep.budget,
        resources=context.pool.resources,
        n_at_once=context.pool.trials_at_once,
        n_finals=n_finalists * n_folds * finals.n_seeds,
        n_folds=n_folds,
        schedule=context.schedule,
    )
    if sweep.search.sampler == "grid":
        n_points = len(grid.grid_points(context.resolved.space, seed=sweep.search.seed))
        meter.n_trials = min(meter.n_trials, n_points)
    return meter
