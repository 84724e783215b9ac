"""The grid search of the baselines: fits on every fold, within a time limit, and the final fits.

`search.baselines.baselines` calls it with a plan.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.chunks import ChunkMap
from chorale.lightning_models.multi_label_metrics import main_score
from chorale.search.baselines.baseline_plan import BaselinePlan, GridPoint, Source
from chorale.search.baselines.classifiers import BaselineData, FitJob, FitResult, fit_and_score
from chorale.search.baselines.names import baseline_name
from chorale.search.statistics.arrays import Floats, Labels

ProgressCallback = Callable[[str], None]

PROBE = "logistic_regression"
"""The linear probe by which the feature set is chosen: it is cheap and favours no feature set."""


@dataclass(frozen=True)
class Probe:
    """A linear probe: logistic regression with the point of its grid that is fitted first.

    `held_out` (n, n_classes) are its scores, each row by the model of the other folds, fitted in
    `took_s` seconds.
    """

    held_out: Floats
    took_s: float


@dataclass(frozen=True)
class PointScores:
    """Of one point: `held_out` (n, n_classes), each scored row by the model of the other folds.

    `on_test` (n_folds, n_test, n_classes) are these models' scores of the test rows. It has no rows
    where the classifier has several points: then only the chosen ones score the test rows, in
    `GridSearch.refit`.
    """

    held_out: Floats
    on_test: Floats


@dataclass(frozen=True)
class Chosen:
    """The best parameters of a classifier, the final fit with them on all rows, and `on_test`.

    `on_test` is as in `PointScores`, for each fold with the parameters that are best without it.
    """

    params: dict[str, Any]
    final: FitResult
    on_test: Floats


@dataclass
class GridSearch:
    """Runs a plan: `scores` maps each point that was fitted on all folds to its scores."""

    plan: BaselinePlan
    data: BaselineData
    """of the chosen feature set; the rows, labels and folds are those of all"""
    seed: int
    run: ChunkMap
    progress: ProgressCallback
    scores: dict[GridPoint, PointScores] = field(default_factory=dict)
    spent_s: float = 0.0
    measured_s: dict[GridPoint, float] = field(default_factory=dict)
    """seconds of all folds of a point"""
    counted_s: float = 0.0
    """wall time of the fits of which the processor's time, `counted_cpu_s`, is known"""
    counted_cpu_s: float = 0.0

    def add_probes(self, probe_of: Mapping[str, str], probes: Mapping[str, Probe]) -> None:
        """Takes over the fits by which the features were chosen.

        `probe_of` maps the features in the baselines' names to those that `probes` names.
        """
        first = {point.name: point for point in self.plan.first}
        for features, probed in probe_of.items():
            # a classifier of one point also scores the test rows, which had no part in the choice
            name, probe = baseline_name(PROBE, features), probes.get(probed)
            if probe is None or len(self.plan.grids.get(name, ())) < 2:
                continue
            on_test = np.zeros((self.data.n_folds, 0, self.data.n_classes))
            self.scores[first[name]] = PointScores(probe.held_out, on_test)
            self.measured_s[first[name]] = probe.took_s
            self.spent_s += probe.took_s

    def fit_points(self, points: list[GridPoint], limit_s: float) -> None:
        """Fits the points on every fold, in order, until all fits have taken `limit_s` seconds."""
        folds, n_planned = self.data.folds, len(self.scores) + len(points)

        def jobs_within_limit() -> Iterator[FitJob]:
            for job in _fit_jobs(points, self.plan, seed=self.seed):
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
                self._count(result)
                took_s += result.took_s
            self.scores[point] = PointScores(held_out, np.stack(on_test))
            self.measured_s[point] = took_s
            self.progress(f"{point.name}, {len(self.scores)} of {n_planned} settings")

    def refit(self) -> dict[str, Chosen]:
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
            best[name] = grid[points[most_accurate(held_out[:, scored], y[scored])].index]
            every = np.ones(len(y), bool)
            jobs.append((name, self._on_test(name, best[name], every, is_final=True)))
            for fold in self.data.folds if len(grid) > 1 else ():
                rest = scored & ~self.data.valid_rows(fold)
                params = grid[points[most_accurate(held_out[:, rest], y[rest])].index]
                jobs.append((name, self._on_test(name, params, self.data.train_rows(fold))))
        final, by_fold = {}, {name: list[Floats]() for name in best}
        results = self.run(fit_and_score, [job for _, job in jobs])
        for (name, job), result in zip(jobs, results, strict=True):
            self._count(result)
            if job.is_final:
                final[name] = result
                self.progress(f"{name} on all tracks")
            else:
                by_fold[name].append(result.scores)
        return {
            name: Chosen(
                params,
                final[name],
                np.stack(by_fold[name] or list(self.scores[GridPoint(name, 0)].on_test)),
            )
            for name, params in best.items()
        }

    @property
    def slowdown(self) -> float:
        """The seconds that passed for a second of the processor; 1 where none are counted."""
        return max(1.0, self.counted_s / self.counted_cpu_s) if self.counted_cpu_s else 1.0

    def _count(self, result: FitResult) -> None:
        self.spent_s += result.took_s
        self.counted_s += result.took_s
        self.counted_cpu_s += result.cpu_s

    def _on_test(
        self, name: str, params: dict[str, Any], rows: NDArray[np.bool_], *, is_final: bool = False
    ) -> FitJob:
        """A fit on the rows of a mask that scores the test rows."""
        source = self.plan.sources[name]
        x, x_test = source.columns(params)
        return _job(source, params, x[rows], self.data.y[rows], x_test, self.seed, is_final)


def fit_probe(data: BaselineData, plan: BaselinePlan, *, seed: int, run: ChunkMap) -> Probe:
    """The first point of a plan of one classifier, fitted on every fold."""
    results = run(fit_and_score, list(_fit_jobs(plan.first, plan, seed=seed)))
    scores, took_s = np.zeros((len(data.y), data.n_classes)), 0.0
    for fold, result in zip(data.folds, results, strict=True):
        scores[data.valid_rows(fold)] = result.scores
        took_s += result.took_s
    return Probe(scores, took_s)


def _fit_jobs(points: list[GridPoint], plan: BaselinePlan, *, seed: int) -> Iterator[FitJob]:
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


def most_accurate(scores: Floats, y: Labels) -> int:
    """The index of the parameters whose scores (n_params, n, n_classes) are the most accurate.

    Where multi-label, those of the highest mAP.
    """
    return int(np.argmax([main_score(one, y) for one in scores]))
