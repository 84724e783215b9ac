"""Baselines: classical scikit-learn classifiers on track statistics, on the same folds as trials.

A network that does not beat them is not worth its cost; `search.evaluation.final_evaluation`
reports their scores beside the networks' and lets them join ensembles. They are fitted in the
sweep's worker processes, within a time limit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from chorale.datasets.chunks import ChunkMap
from chorale.datasets.features import layout_of
from chorale.datasets.splitting.group_split import class_count
from chorale.datasets.splitting.split import Split
from chorale.datasets.store.feature_store import FeatureStore
from chorale.lightning_models.multi_label_metrics import main_score
from chorale.search.baselines.baseline_plan import (
    BaselinePlan,
    add_embeddings,
    make_baseline_plan,
)
from chorale.search.baselines.calibration import fit_score_temperature, proba_by_fold
from chorale.search.baselines.classifiers import BaselineData
from chorale.search.baselines.fitted_baselines import Baseline, Baselines
from chorale.search.baselines.fitted_classifier import score_proba
from chorale.search.baselines.grid_search import (
    PROBE,
    Chosen,
    GridSearch,
    PointScores,
    Probe,
    ProgressCallback,
    fit_probe,
)
from chorale.search.baselines.track_statistics import StatisticsLayout, track_statistics
from chorale.search.statistics.arrays import Labels

PARALLEL_EFFICIENCY = 0.7
"""Seconds of fits a second of wall time and worker process: the rest is their start and data."""


@dataclass(frozen=True)
class FeatureChoice:
    """The feature set for the baselines, by the out-of-fold accuracy of a linear probe.

    `accuracies` has that of each candidate, `probes` the fits behind it, which `run_baselines` does
    not repeat; both are empty where there was only one.
    """

    name: str
    accuracies: Mapping[str, float] = field(default_factory=dict)
    probes: Mapping[str, Probe] = field(default_factory=dict)


def choose_features(
    stores: Mapping[str, FeatureStore],
    *,
    labels: Labels,
    split: Split,
    unscored: tuple[int, ...] = (),
    run: ChunkMap = map,
    seed: int = 0,
) -> FeatureChoice:
    """Chooses the feature set for all baselines by the out-of-fold accuracy of a linear probe.

    Args:
        stores: feature set -> its cached features.
        labels: the class index of each row of a store, or (n, n_classes) of 0 and 1.
        split: the folds; the test rows are not used.
        unscored: labels, columns of `labels`, that are only trained on.
        run: the map that runs the fits.
        seed: as `run_baselines`.
    """
    if len(stores) == 1:
        return FeatureChoice(next(iter(stores)))
    accuracies: dict[str, float] = {}
    probes: dict[str, Probe] = {}
    for name, store in stores.items():
        layout = StatisticsLayout.of(store)
        data = _data(store, labels, split, unscored, run)
        data = replace(data, x_test=data.x_test[:0])  # they have no part in the choice
        plan = make_baseline_plan(data, layout, names=(PROBE,))
        probe = fit_probe(data, plan, seed=seed, run=map if plan.is_small else run)
        accuracies[name] = main_score(probe.held_out[data.scored], data.scored_y[data.scored])
        probes[name] = probe
    best = max(accuracies, key=accuracies.__getitem__)  # the first of equals
    return FeatureChoice(best, accuracies, probes)


def run_baselines(
    store: FeatureStore,
    *,
    labels: Labels,
    split: Split,
    unscored: tuple[int, ...] = (),
    seed: int = 0,
    run: ChunkMap = map,
    limit_s: float = np.inf,
    wall_s: float = np.inf,
    n_at_once: int = 1,
    choice: FeatureChoice | None = None,
    others: Mapping[str, FeatureStore] = MappingProxyType({}),
    progress: ProgressCallback | None = None,
) -> Baselines:
    """Fits each classifier of `classifiers.GRIDS` by grid search, the cheapest first.

    Parameters are chosen by out-of-fold accuracy on the development rows; ties go to the first in
    the grid, in which simpler models come first. For the predictions of a fold they are chosen
    without that fold, or the best of several would look slightly too good. The test rows have no
    part in any choice.

    Each classifier is fitted with one point of its grid before any is fitted with more; what does
    not fit into `limit_s` is left out and listed in `left_out`. One is fitted in any case: that of
    `choice`, or else the cheapest. The result depends on how long fits take, not on how many of
    them run in parallel.

    Args:
        store: the features whose statistics are read.
        labels: the class index of each row of `store`, or (n, n_classes) of 0 and 1.
        split: the folds and the test set.
        unscored: as `choose_features`.
        seed: of the random forest and the boosted trees.
        run: the map that runs the fits; a small plan runs in this process instead.
        limit_s: the seconds that all fits together may take.
        wall_s: the seconds that may pass.
        n_at_once: how many fits `run` does at the same time.
        choice: of these features; its probes are not fitted again.
        others: further feature sets -> their features. Each whose layout is "embedding" has its own
            baselines, those of `classifiers.ON_EVERY_EMBEDDING`, in the same plan.
        progress: is called with a line after each step.

    Raises:
        UserError: a track of the split is not in the store.
    """
    data = _data(store, labels, split, unscored, run)
    layout = StatisticsLayout.of(store)
    features = store.feature if choice is None else choice.name
    plan = make_baseline_plan(data, layout, features=features)
    embeddings = {
        name: (_data(other, labels, split, unscored, run), StatisticsLayout.of(other))
        for name, other in others.items()
        if layout_of(other.feature) == "embedding"
    }
    plan = add_embeddings(plan, embeddings)
    at_once = 1.0 if plan.is_small else PARALLEL_EFFICIENCY * n_at_once
    limit_s = min(limit_s, wall_s * at_once)
    run = map if plan.is_small else run
    fits = GridSearch(plan, data, seed, run, progress or (lambda _: None))
    if choice is not None:
        fits.add_probes({"": choice.name} | {name: name for name in embeddings}, choice.probes)
    if not fits.scores:
        fits.fit_points(plan.first[:1], np.inf)
    fits.fit_points([p for p in plan.first_that_fit(limit_s) if p not in fits.scores], limit_s)
    fits.fit_points(plan.rest_that_fit(limit_s - fits.spent_s, fits.measured_s), limit_s)
    chosen = fits.refit()
    fitted = [
        _baseline(name, plan, {p.index: fits.scores[p] for p in points}, chosen[name])
        for name in plan.grids
        if (points := [p for p in fits.scores if p.name == name])
    ]
    left_out = plan.left_out(fits.scores)
    return Baselines(
        fitted, features, layout, left_out, fits.spent_s, limit_s, slowdown=fits.slowdown
    )


def _data(
    store: FeatureStore, labels: Labels, split: Split, unscored: tuple[int, ...], run: ChunkMap
) -> BaselineData:
    development, test = store.rows(split.trained_ids), store.rows(split.test_ids)
    fold_of = {**split.fold_of, **split.train_only}
    return BaselineData(
        track_statistics(store, development, run=run),
        labels[development],
        np.array([fold_of[track] for track in split.trained_ids]),
        track_statistics(store, test, run=run),
        n_classes=class_count(labels),
        n_scored=len(split.development_ids),
        by_time=split.by_time,
        unscored=unscored,
    )


def _baseline(
    name: str, plan: BaselinePlan, scores: Mapping[int, PointScores], chosen: Chosen
) -> Baseline:
    """The best of a classifier's points; `scores` maps the indices of those fitted."""
    source, grid = plan.sources[name], plan.grids[name]
    data, fitted = source.data, sorted(scores)
    held_out = np.stack([scores[index].held_out for index in fitted])
    chosen_scores = held_out[fitted.index(grid.index(chosen.params))]
    temperature = fit_score_temperature(chosen_scores[data.scored], data.scored_y[data.scored])
    oof_proba, by_fold = proba_by_fold(held_out, chosen.on_test, data)
    return Baseline(
        name,
        chosen.params,
        oof_proba[data.scored].astype(np.float32),
        score_proba(chosen.final.scores / temperature, multi_label=data.y.ndim == 2),
        temperature,
        chosen.final.arrays or {},
        tuple(by_fold.astype(np.float32)),
        source.features,
        source.layout,
    )
