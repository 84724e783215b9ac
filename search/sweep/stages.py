"""The stages of a sweep, in the order in which they run: search, finalists, evaluation, report.

Each stage leaves its results on disk and in the ledger, so that a sweep that was interrupted goes
on from the stage it had reached. `search.sweep.run` prepares the data and opens the study before.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from chorale.datasets.atomic import write_json, write_text
from chorale.datasets.config import to_plain_values
from chorale.datasets.features import layout_of
from chorale.datasets.seeds import Purpose, derive_seed
from chorale.datasets.store.feature_store import FeatureStore
from chorale.search.config.schema import sweep_yaml_text
from chorale.search.data.prepare import PreparedData, ground_truth_of
from chorale.search.evaluation.members import Member
from chorale.search.ledger import stages
from chorale.search.ledger.ground_truth import write_ground_truth
from chorale.search.report import report
from chorale.search.sweep.context import SweepContext
from chorale.search.sweep.finalists_stage import collect_members, cross_validate
from chorale.search.sweep.search_stage import search
from chorale.search.sweep.time_shares import (
    affordable_kinds,
    first_baselines_limit,
    last_baselines_limit,
)

if TYPE_CHECKING:
    from chorale.search.baselines.fitted_baselines import Baselines

MORE_TIME = 3.0
"""Baselines that time cut short are fitted again where this many times the seconds are allowed;
fewer would go into what was fitted before."""


def run_stages(context: SweepContext) -> None:
    """All stages after the data's, up to `report.json`.

    Raises:
        UserError: no trial or no finalist completed.
    """
    write_text(context.paths.sweep_yaml, sweep_yaml_text(context.sweep))
    write_json(context.paths.split_json, context.prepared.split.to_json())
    write_ground_truth(context.paths, ground_truth_of(context.prepared))
    before = _states(context)
    if not context.was_complete:  # the first result: a model, whatever happens later
        with context.timed("baselines"):
            fit_baselines(context, **first_baselines_limit(context))
    jobs = []
    if context.trains_networks:
        with context.timed("search"):
            search(context)
        with context.timed("finalists"):
            jobs = cross_validate(context)
    if context.was_complete and _states(context) == before:
        context.progress.stage("report", "nothing new was trained: the report stays as it is")
        return
    with context.timed("baselines"):
        baselines = fit_baselines(context, **last_baselines_limit(context))
    members = collect_members(context, jobs, has_baselines=bool(baselines.fitted))
    evaluate(context, members, baselines)


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
    stores = {name: FeatureStore.open(prepared.stores[name]) for name in baseline_stores(prepared)}
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
        others = {other: store for other, store in stores.items() if other != name}
        data |= {"limit_s": limit_s, "wall_s": wall_s, "n_at_once": n_at_once}
        data |= {"choice": choice, "others": others}
        found = run_baselines(stores[name], run=run, progress=tell, **data)
    found = replace(found, feature_accuracies=choice.accuracies)
    context.slowdowns.append(found.slowdown)
    write_baselines(
        context.paths,
        found,
        prepared.split,
        features_configs={
            features: dict(to_plain_values(config))
            for features, config in context.resolved.features.items()
        },
        n_classes=len(prepared.class_names),
        multi_label=prepared.multi_label,
    )
    names = ", ".join(one.name for one in found.fitted) or "none"
    progress.stage("baselines", f"on {name}: {names}")
    for line in found.left_out:
        progress.stage("baselines", line)
    return found


def baseline_stores(prepared: PreparedData) -> list[str]:
    """The feature sets that baselines may read: the frames before an encoder's last blocks only
    where there are no others, as the embeddings behind them are in the sweep, too.
    """
    others = [name for name in prepared.stores if layout_of(name) != "block_input"]
    return others or list(prepared.stores)


def evaluate(context: SweepContext, members: Sequence[Member], baselines: "Baselines") -> None:
    """The last stage: fits the ensembles, evaluates once on the test set, and writes the report."""
    from chorale.search.evaluation.encoder_vectors import write_encoder_vectors
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
    if cost := evaluation.details.get("model_cost"):
        limits = {"latency_ms": sweep.limit.latency_ms, "size_mb": sweep.limit.size_mb}
        kept = [f"{name} {cost[name]:.4g} of {most:g}" for name, most in limits.items() if most]
        progress.stage("ensembles", f"the model keeps to the limit: {', '.join(kept)}")
    for line in evaluation.details["cautions"]:
        progress.stage("caution", line)
    context.monitor.enter("report")
    with progress.activity("report"):
        write_encoder_vectors(context.paths.encoder_vectors, prepared.stores)
        write_finalist_events(
            context.paths,
            truth,
            evaluation.members,
            evaluation.chosen,
            seed=sweep.search.seed,
        )
        report.write_report(resolved, prepared, context.ledger, evaluation, context.cost())


def complete_report(context: SweepContext) -> dict[str, Any]:
    """Writes the report's page, once the study is complete, and gives the report."""
    name, paths = context.sweep.name, context.paths
    context.monitor.enter("report")
    with context.progress.activity("report"):
        study = context.ledger.study(name)
        report.update_report(context.ledger, study, context.sweep.about, paths)
    return report.read_report(paths)


def _states(context: SweepContext) -> dict[tuple[str, str], str]:
    """The states of all training runs: one that time ended may be complete in a later session."""
    return {
        (stage, key): row.state
        for stage in (stages.SEARCH, stages.FINALISTS)
        for key, row in context.rows(stage).items()
    }
