"""Baselines: classical scikit-learn classifiers on track statistics, on the same folds as trials.

A network that does not beat them is not worth its cost; `search.evaluation.final_evaluation`
reports their scores beside the networks' and lets them join ensembles. They are fitted in the
sweep's worker processes, within a time limit.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from chorale.datasets.chunks import ChunkMap
from chorale.datasets.features import layout_of
from chorale.datasets.label_sets import is_known, is_present
from chorale.datasets.splitting.group_split import class_count
from chorale.datasets.splitting.split import Split
from chorale.datasets.store.feature_store import FeatureStore
from chorale.lightning_models.multi_label_metrics import main_score
from chorale.search.baselines.baseline_plan import (
    BaselinePlan,
    GridPoint,
    Source,
    add_embeddings,
    make_baseline_plan,
)
from chorale.search.baselines.classifiers import BaselineData, FitJob, FitResult, fit_and_score
from chorale.search.baselines.fitted_classifier import ClassifierArrays, score_proba
from chorale.search.baselines.names import baseline_name, split_name
from chorale.search.baselines.track_statistics import StatisticsLayout, track_statistics
from chorale.search.statistics.arrays import Floats, Labels
from chorale.search.statistics.softmax import log_softmax

ProgressCallback = Callable[[str], None]

PARALLEL_EFFICIENCY = 0.7
"""Seconds of fits a second of wall time and worker process: the rest is their start and data."""

_PROBE = "logistic_regression"
"""The linear probe by which the feature set is chosen: it is cheap and favours no feature set."""


@dataclass(frozen=True)
class Baseline:
    """One classifier with the parameters that did best out of fold, and its predictions.

    `oof_proba` is float32 (n_development, n_classes), in the order of `split.development_ids`,
    each row by a model that was trained on the other folds. Its parameters and temperature were
    chosen on the other folds, too, so they may differ from `params`.

    `test_proba` is float32 (n_test, n_classes), in the order of `split.test_ids`, by a model
    trained on all of `split.trained_ids`. `arrays` hold that model (see
    `search.baselines.fitted_classifier`); its scores are divided by `temperature`.

    `test_by_fold` (n_folds, n_test, n_classes) are the test predictions of the models behind
    `oof_proba`; it is empty in studies of older versions, which did not keep it.

    It reads the columns that `params["statistics"]` names of the rows that `layout` describes, of
    the feature set `features`. Both are left out where only predictions are known.
    """

    name: str
    params: Mapping[str, Any]
    oof_proba: NDArray[np.float32]
    test_proba: NDArray[np.float32]
    temperature: float = 1.0
    arrays: ClassifierArrays = field(default_factory=dict)
    test_by_fold: tuple[NDArray[np.float32], ...] = ()
    features: str = ""
    layout: StatisticsLayout | None = None


@dataclass(frozen=True)
class Baselines:
    """All fitted baselines, the feature set chosen for them, and what the time did not allow.

    The set `features` has all classifiers; others, which are in the baselines' names, have those
    of `classifiers.ON_EVERY_EMBEDDING`.

    `left_out` are lines for people. `spent_s` is the time of all fits together, of which `limit_s`
    was allowed. `feature_accuracies` maps each candidate feature set to the out-of-fold accuracy of
    logistic regression, by which one was chosen; it is empty where there was only one.
    """

    fitted: list[Baseline]
    features: str
    layout: StatisticsLayout
    left_out: list[str]
    spent_s: float
    limit_s: float
    feature_accuracies: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready facts for the report on how they were fitted."""
        others = list(dict.fromkeys(split_name(one.name)[1] for one in self.fitted))
        others = [features for features in others if features]
        return {
            "features": self.features,
            "why": self.why,
            "left_out": self.left_out,
            "spent_s": self.spent_s,
            "limit_s": None if np.isinf(self.limit_s) else self.limit_s,
            **({"other_features": others} if others else {}),
        }

    @property
    def why(self) -> str:
        """The reason for the choice of the feature set."""
        if not self.feature_accuracies:
            return "the only feature set of the sweep"
        each = ", ".join(f"{name} {share:.1%}" for name, share in self.feature_accuracies.items())
        return f"logistic regression is best with it out of fold: {each}"


@dataclass(frozen=True)
class Probe:
    """A linear probe: logistic regression with the point of its grid that is fitted first.

    `held_out` (n, n_classes) are its scores, each row by the model of the other folds, fitted in
    `took_s` seconds.
    """

    held_out: Floats
    took_s: float


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
        plan = make_baseline_plan(data, layout, names=(_PROBE,))
        results = (map if plan.is_small else run)(
            fit_and_score, list(_jobs(plan.first, plan, seed=seed))
        )
        scores, took_s = np.zeros((len(data.y), data.n_classes)), 0.0
        for fold, result in zip(data.folds, results, strict=True):
            scores[data.valid_rows(fold)] = result.scores
            took_s += result.took_s
        accuracies[name] = main_score(scores[data.scored], data.scored_y[data.scored])
        probes[name] = Probe(scores, took_s)
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
    fits = _BaselineRun(plan, data, seed, run, progress or (lambda _: None))
    if choice is not None:
        fits.add_probes({"": choice.name} | {name: name for name in embeddings}, choice)
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
    return Baselines(fitted, features, layout, left_out, fits.spent_s, limit_s)


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


@dataclass(frozen=True)
class _Scores:
    """Of one point: `held_out` (n, n_classes), each scored row by the model of the other folds.

    `on_test` (n_folds, n_test, n_classes) are these models' scores of the test rows. It has no rows
    where the classifier has several points: then only the chosen ones score the test rows, in
    `_BaselineRun.refit`.
    """

    held_out: Floats
    on_test: Floats


@dataclass(frozen=True)
class _Chosen:
    """The best parameters of a classifier, the final fit with them on all rows, and `on_test`.

    `on_test` is as in `_Scores`, for each fold with the parameters that are best without it.
    """

    params: dict[str, Any]
    final: FitResult
    on_test: Floats


@dataclass
class _BaselineRun:
    """Runs a plan: `scores` maps each point that was fitted on all folds to its scores."""

    plan: BaselinePlan
    data: BaselineData
    """of the chosen feature set; the rows, labels and folds are those of all"""
    seed: int
    run: ChunkMap
    progress: ProgressCallback
    scores: dict[GridPoint, _Scores] = field(default_factory=dict)
    spent_s: float = 0.0
    measured_s: dict[GridPoint, float] = field(default_factory=dict)
    """seconds of all folds of a point"""

    def add_probes(self, probe_of: Mapping[str, str], choice: FeatureChoice) -> None:
        """Takes over the fits by which the features were chosen.

        `probe_of` maps the features in the baselines' names to those that the choice names.
        """
        first = {point.name: point for point in self.plan.first}
        for features, probed in probe_of.items():
            # a classifier of one point also scores the test rows, which had no part in the choice
            name, probe = baseline_name(_PROBE, features), choice.probes.get(probed)
            if probe is None or len(self.plan.grids.get(name, ())) < 2:
                continue
            on_test = np.zeros((self.data.n_folds, 0, self.data.n_classes))
            self.scores[first[name]] = _Scores(probe.held_out, on_test)
            self.measured_s[first[name]] = probe.took_s
            self.spent_s += probe.took_s

    def fit_points(self, points: list[GridPoint], limit_s: float) -> None:
        """Fits the points on every fold, in order, until all fits have taken `limit_s` seconds."""
        folds, n_planned = self.data.folds, len(self.scores) + len(points)

        def jobs_within_limit() -> Iterator[FitJob]:
            for job in _jobs(points, self.plan, seed=self.seed):
                if self.spent_s > limit_s:
                    return
                yield job

        # lazy: a map takes jobs only slightly ahead of their results
        results: Iterator[FitResult] = iter(self.run(fit_and_score, jobs_within_limit()))  # type: ignore[arg-type]
        for point in points:
            held_out = np.zeros((len(self.data.y), self.data.n_classes))
            on_test, took_s = [], 0.0
            for fold in folds:
                if self.spent_s > limit_s or (result := next(results, None)) is None:
                    for _ in results:  # lets running fits end; their results are discarded
                        pass
                    return
                in_fold = self.data.valid_rows(fold)
                held_out[in_fold], test = np.split(result.scores, [int(in_fold.sum())])
                on_test.append(test)
                self.spent_s += result.took_s
                took_s += result.took_s
            self.scores[point] = _Scores(held_out, np.stack(on_test))
            self.measured_s[point] = took_s
            self.progress(f"{point.name}, {len(self.scores)} of {n_planned} settings")

    def refit(self) -> dict[str, _Chosen]:
        """Fits each classifier with its best parameters on all rows, and scores the test rows.

        Where a classifier has several points, its fold models are fitted again with the parameters
        that are best without the fold: to score the test rows by all points took up to 1.5 times as
        long.
        """
        y, scored = self.data.scored_y, self.data.scored
        best: dict[str, dict[str, Any]] = {}
        jobs: list[tuple[str, FitJob]] = []
        for name, grid in self.plan.grids.items():
            points = sorted((p for p in self.scores if p.name == name), key=lambda p: p.index)
            if not points:
                continue
            held_out = np.stack([self.scores[point].held_out for point in points])
            best[name] = grid[points[_most_accurate(held_out[:, scored], y[scored])].index]
            every = np.ones(len(y), bool)
            jobs.append((name, self._on_test(name, best[name], every, is_final=True)))
            for fold in self.data.folds if len(grid) > 1 else ():
                rest = scored & ~self.data.valid_rows(fold)
                params = grid[points[_most_accurate(held_out[:, rest], y[rest])].index]
                jobs.append((name, self._on_test(name, params, self.data.train_rows(fold))))
        final, by_fold = {}, {name: list[Floats]() for name in best}
        results = self.run(fit_and_score, [job for _, job in jobs])
        for (name, job), result in zip(jobs, results, strict=True):
            self.spent_s += result.took_s
            if job.is_final:
                final[name] = result
                self.progress(f"{name} on all tracks")
            else:
                by_fold[name].append(result.scores)
        return {
            name: _Chosen(
                params,
                final[name],
                np.stack(by_fold[name] or list(self.scores[GridPoint(name, 0)].on_test)),
            )
            for name, params in best.items()
        }

    def _on_test(
        self, name: str, params: dict[str, Any], rows: NDArray[np.bool_], *, is_final: bool = False
    ) -> FitJob:
        """A fit on the rows of a mask that scores the test rows."""
        source = self.plan.sources[name]
        x, x_test = source.columns(params)
        return _job(source, params, x[rows], self.data.y[rows], x_test, self.seed, is_final)


def _jobs(points: list[GridPoint], plan: BaselinePlan, *, seed: int) -> Iterator[FitJob]:
    """A fit for each point and fold: trained on the fold's training rows, scoring those inside.

    Where a classifier has only one point, it scores the test rows, too.
    """
    for point in points:
        source, grid = plan.sources[point.name], plan.grids[point.name]
        data, params = source.data, grid[point.index]
        x, x_test = source.columns(params)
        also = x_test[: len(x_test) if len(grid) == 1 else 0]
        for fold in data.folds:
            rows = data.train_rows(fold)
            x_new = np.concatenate([x[data.valid_rows(fold)], also])
            yield _job(source, params, x[rows], data.y[rows], x_new, seed)


def _job(
    source: Source,
    params: Mapping[str, Any],
    x: NDArray[np.float32],
    y: Labels,
    x_new: NDArray[np.float32],
    seed: int,
    is_final: bool = False,
) -> FitJob:
    pooled, n_classes = source.layout.is_embedding, source.data.n_classes
    return FitJob(source.classifier, params, x, y, x_new, n_classes, seed, is_final, pooled)


def _baseline(
    name: str, plan: BaselinePlan, scores: Mapping[int, _Scores], chosen: _Chosen
) -> Baseline:
    """The best of a classifier's points; `scores` maps the indices of those fitted."""
    source, grid = plan.sources[name], plan.grids[name]
    data, fitted = source.data, sorted(scores)
    held_out = np.stack([scores[index].held_out for index in fitted])
    chosen_scores = held_out[fitted.index(grid.index(chosen.params))]
    temperature = _temperature(chosen_scores[data.scored], data.scored_y[data.scored])
    oof_proba, by_fold = _proba_by_fold(held_out, chosen.on_test, data)
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


def _most_accurate(scores: Floats, y: Labels) -> int:
    """The index of the parameters whose scores (n_params, n, n_classes) are the most accurate.

    Where multi-label, those of the highest mAP.
    """
    return int(np.argmax([main_score(one, y) for one in scores]))


def _proba_by_fold(scores: Floats, on_test: Floats, data: BaselineData) -> tuple[Floats, Floats]:
    """Probabilities of each fold and of the test rows, by the best parameters on the other folds.

    Rows that are only trained on get 0.

    Args:
        scores: of each point, (n_params, n, n_classes).
        on_test: scores of test rows by the best without each fold, (n_folds, n_test, n_classes).
        data: the rows.
    """
    proba, proba_test = np.zeros(scores.shape[1:]), np.zeros_like(on_test)
    multi_label = data.y.ndim == 2
    for number, fold in enumerate(data.folds):
        out = data.valid_rows(fold)
        rest = data.scored & ~out
        best = scores[_most_accurate(scores[:, rest], data.scored_y[rest])]
        temperature = _temperature(best[rest], data.scored_y[rest])
        proba[out] = score_proba(best[out] / temperature, multi_label=multi_label)
        proba_test[number] = score_proba(on_test[number] / temperature, multi_label=multi_label)
    return proba, proba_test


def _temperature(scores: Floats, y: Labels) -> float:
    """Temperature scaling: the divisor of the scores that minimizes the log loss.

    The order of the classes stays. Where multi-label, scores are log-odds.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599.
    """
    if y.ndim == 2:
        known = is_known(y)
        margins = np.where(is_present(y), scores, -scores)[known]
        if not len(margins):
            return 1.0

    def loss(log_temperature: float) -> float:
        if y.ndim == 2:
            return float(np.logaddexp(0, -margins / np.exp(log_temperature)).mean())
        scaled = scores / np.exp(log_temperature)
        return -float(log_softmax(scaled)[np.arange(len(y)), y].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-5.0, 5.0), method="bounded").x))
