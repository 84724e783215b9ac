"""Classical classifiers on statistics of the same tracks and folds: the bar for every network.

A sweep that does not beat them has found nothing; `search.evaluation.final_evaluation` puts their
scores beside its own and lets them into its ensembles. They are fitted over the sweep's worker
processes, and may take no longer than they are allowed.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from chorale.datasets.chunks import ChunkMap
from chorale.datasets.splitting.split import Split
from chorale.datasets.store.feature_store import FeatureStore
from chorale.search.baselines.baseline_plan import Plan, Point, make_plan
from chorale.search.baselines.classifiers import Fit, FitResult, Rows, fit
from chorale.search.baselines.fitted_classifier import Arrays
from chorale.search.baselines.track_statistics import Description, statistics
from chorale.search.statistics.softmax import log_softmax, softmax

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Tell = Callable[[str], None]

PROBE = "logistic_regression"
"""The classifier by which the feature set is chosen: cheap, and no set suits it specially."""


@dataclass(frozen=True)
class Baseline:
    """One classifier with the parameters that did best out of fold, and what it says.

    `oof_proba` is float32 (n_development, n_classes), in the order of `split.development_ids`,
    each row by a model that was trained on the other folds, whose parameters and temperature were
    chosen on the other folds, too: they may differ from `params`. `test_proba` is float32
    (n_test, n_classes), in the order of `split.test_ids`, by one trained on all development rows,
    which `arrays` hold (see `search.baselines.fitted_classifier`) and whose scores are divided by
    `temperature`. `test_by_fold` (n_folds, n_test, n_classes) is what the models behind `oof_proba`
    say of the test rows; it is empty where a study of an older version did not keep it.
    """

    name: str
    params: Mapping[str, Any]
    oof_proba: NDArray[np.float32]
    test_proba: NDArray[np.float32]
    temperature: float = 1.0
    arrays: Arrays = field(default_factory=dict)
    test_by_fold: tuple[NDArray[np.float32], ...] = ()


@dataclass(frozen=True)
class Baselines:
    """All that were made, from which feature set, and what there was no time for.

    `left_out` are lines for people; `spent_s` are the seconds of all fits together, of which
    `limit_s` were allowed. `chosen_by` maps each feature set that was there to the out-of-fold
    accuracy of logistic regression by which one of them was chosen; it is empty where there is one.
    """

    made: list[Baseline]
    features: str
    description: Description
    left_out: list[str]
    spent_s: float
    limit_s: float
    chosen_by: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready: what stands in a report of how they were made."""
        return {
            "features": self.features,
            "why": self.why,
            "left_out": self.left_out,
            "spent_s": self.spent_s,
            "limit_s": None if np.isinf(self.limit_s) else self.limit_s,
        }

    @property
    def why(self) -> str:
        """Why they read that feature set."""
        if not self.chosen_by:
            return "the only feature set of the sweep"
        each = ", ".join(f"{name} {share:.1%}" for name, share in self.chosen_by.items())
        return f"logistic regression is best with it out of fold: {each}"


def choose_features(
    stores: Mapping[str, FeatureStore],
    *,
    labels: Ints,
    split: Split,
    run: ChunkMap = map,
    seed: int = 0,
) -> tuple[str, dict[str, float]]:
    """The feature set that all baselines read, and the figures that it was chosen by.

    Args:
        stores: feature set -> what was cached of it.
        labels: the class index of each row of a store.
        split: the folds; the test rows have no part in this.
        run: the map that fits.
        seed: as `run_baselines`.
    """
    if len(stores) == 1:
        return next(iter(stores)), {}
    found = {}
    for name, store in stores.items():
        description = Description.of(store)
        rows = _rows(store, labels, split, run)
        plan = make_plan(rows, description, names=(PROBE,))
        results = (map if plan.is_small else run)(
            fit, list(_jobs(plan.first, plan, rows, seed=seed))
        )
        scores = np.zeros((len(rows.y), rows.n_classes))
        for fold, result in zip(np.unique(rows.fold), results, strict=True):
            scores[rows.fold == fold] = result.scores
        found[name] = float((scores.argmax(axis=1) == rows.y).mean())
    return max(found, key=lambda name: found[name]), found


def run_baselines(
    store: FeatureStore,
    *,
    labels: Ints,
    split: Split,
    seed: int = 0,
    run: ChunkMap = map,
    limit_s: float = np.inf,
    tell: Tell | None = None,
) -> Baselines:
    """Fits each classifier of `classifiers.GRIDS`, the cheapest first.

    Parameters are chosen by out-of-fold accuracy on the development rows, equal ones by the order
    of the grid, in which simpler models come first; for what is said of a fold, without that fold,
    or the best of a few would look a little too good. The test rows have no part in any choice.

    Each classifier is tried with one point of its grid before any is tried with more; what does not
    fit into `limit_s` any more is left out, and said. What is made depends on how long fits take,
    not on how many of them run side by side.

    Args:
        store: features whose statistics are read.
        labels: the class index of each row of `store`.
        split: the folds and the test set.
        seed: of the forest and of the boosted trees.
        run: the map that fits, but what is soon done is done in this process.
        limit_s: seconds that all fits together may take.
        tell: is told what has been done so far.

    Raises:
        UserError: a track of the split is not in the store.
    """
    rows = _rows(store, labels, split, run)
    description = Description.of(store)
    plan = make_plan(rows, description)
    run = map if plan.is_small else run
    work = _Work(plan, rows, seed, run, limit_s, tell or (lambda _: None))
    work.do(plan.first_that_fit(limit_s))
    work.do(plan.rest_that_fit(limit_s - work.spent_s, work.measured))
    last = work.refit()
    made = [
        _baseline(name, plan.grids[name], {p.at: work.out[p] for p in points}, last[name], rows)
        for name in plan.grids
        if (points := [p for p in work.out if p.name == name])
    ]
    left_out = plan.left_out(work.out)
    return Baselines(made, store.feature, description, left_out, work.spent_s, limit_s)


def _rows(store: FeatureStore, labels: Ints, split: Split, run: ChunkMap) -> Rows:
    development, test = store.rows(split.development_ids), store.rows(split.test_ids)
    return Rows(
        statistics(store, development, run=run),
        labels[development],
        np.array([split.fold_of[track] for track in split.development_ids]),
        statistics(store, test, run=run),
        n_classes=int(labels.max()) + 1,
    )


@dataclass(frozen=True)
class _Scores:
    """Of one point: `held_out` (n, n_classes), each row by the model of the other folds.

    `on_test` (n_folds, n_test, n_classes) is what these models say of test rows; it has no row
    where the classifier has several points, of which only the chosen are asked: `_Work.refit`.
    """

    held_out: Floats
    on_test: Floats


@dataclass(frozen=True)
class _Chosen:
    """The best parameters of a classifier, the fit with them on all rows, and `_Scores.on_test`.

    The latter by the parameters that are best without each fold.
    """

    params: dict[str, Any]
    last: FitResult
    on_test: Floats


@dataclass
class _Work:
    """What is done of a plan: `out` maps a point to what its fold models said."""

    plan: Plan
    rows: Rows
    seed: int
    run: ChunkMap
    limit_s: float
    tell: Tell
    out: dict[Point, _Scores] = field(default_factory=dict)
    spent_s: float = 0.0
    measured: dict[Point, float] = field(default_factory=dict)
    """seconds of all folds of a point"""

    def do(self, points: list[Point]) -> None:
        """Fits the points on every fold, in their order, until the time is over."""
        folds, n_planned = np.unique(self.rows.fold), len(self.out) + len(points)

        def while_time_is_left() -> Iterator[Fit]:
            for job in _jobs(points, self.plan, self.rows, seed=self.seed):
                if self.spent_s > self.limit_s:
                    return
                yield job

        # no list: a map takes jobs only a little ahead of their results
        results: Iterator[FitResult] = iter(self.run(fit, while_time_is_left()))  # type: ignore[arg-type]
        for point in points:
            held_out = np.zeros((len(self.rows.y), self.rows.n_classes))
            on_test, took_s = [], 0.0
            for fold in folds:
                if self.spent_s > self.limit_s or (result := next(results, None)) is None:
                    for _ in results:  # what runs already comes to its end, and is not looked at
                        pass
                    return
                inside = self.rows.fold == fold
                held_out[inside], test = np.split(result.scores, [int(inside.sum())])
                on_test.append(test)
                self.spent_s += result.took_s
                took_s += result.took_s
            self.out[point] = _Scores(held_out, np.stack(on_test))
            self.measured[point] = took_s
            self.tell(f"{point.name}, {len(self.out)} of {n_planned} settings")

    def refit(self) -> dict[str, _Chosen]:
        """Fits each classifier with its best parameters on all rows, and asks of the test rows.

        Where it has several points, so are its fold models with those that are best without the
        fold: to ask all points of the test rows took up to 1.5 times as long.
        """
        y, of_fold = self.rows.y, self.rows.fold
        best, jobs = {}, []
        for name, grid in self.plan.grids.items():
            points = sorted((p for p in self.out if p.name == name), key=lambda p: p.at)
            if not points:
                continue
            outs = np.stack([self.out[point].held_out for point in points])
            best[name] = grid[points[_choice(outs, y)].at]
            jobs.append(self._on_test(name, best[name], np.ones(len(y), bool), is_last=True))
            for fold in np.unique(of_fold) if len(grid) > 1 else ():
                rest = of_fold != fold
                params = grid[points[_choice(outs[:, rest], y[rest])].at]
                jobs.append(self._on_test(name, params, rest))
        lasts, by_fold = {}, {name: list[Floats]() for name in best}
        for job, result in zip(jobs, self.run(fit, jobs), strict=True):
            self.spent_s += result.took_s
            if job.is_last:
                lasts[job.name] = result
                self.tell(f"{job.name} on all tracks")
            else:
                by_fold[job.name].append(result.scores)
        return {
            name: _Chosen(
                params,
                lasts[name],
                np.stack(by_fold[name] or list(self.out[Point(name, 0)].on_test)),
            )
            for name, params in best.items()
        }

    def _on_test(
        self, name: str, params: dict[str, Any], rows: NDArray[np.bool_], *, is_last: bool = False
    ) -> Fit:
        """A fit of some rows, asked of the test rows."""
        x, x_test = (_read(one, self.plan, params) for one in (self.rows.x, self.rows.x_test))
        n_classes = self.rows.n_classes
        return Fit(name, params, x[rows], self.rows.y[rows], x_test, n_classes, self.seed, is_last)


def _jobs(points: list[Point], plan: Plan, rows: Rows, *, seed: int) -> Iterator[Fit]:
    """A fit for each point and fold: of the rows outside of the fold, asked of those inside.

    Where a classifier has but one point, it is asked of the test rows, too.
    """
    for point in points:
        params = plan.grids[point.name][point.at]
        x, x_test = _read(rows.x, plan, params), _read(rows.x_test, plan, params)
        also = x_test[: len(x_test) if len(plan.grids[point.name]) == 1 else 0]
        for fold in np.unique(rows.fold):
            out = rows.fold == fold
            asked = np.concatenate([x[out], also])
            yield Fit(point.name, params, x[~out], rows.y[~out], asked, rows.n_classes, seed)


def _read(x: NDArray[np.float32], plan: Plan, params: Mapping[str, Any]) -> NDArray[np.float32]:
    """The columns that a classifier with these parameters reads."""
    return x[:, : plan.description.n_columns(params["statistics"])]


def _baseline(
    name: str,
    grid: list[dict[str, Any]],
    out: Mapping[int, _Scores],
    chosen: _Chosen,
    rows: Rows,
) -> Baseline:
    """The best of a classifier's points; `out` has the scores of those that were tried."""
    tried = sorted(out)
    outs = np.stack([out[at].held_out for at in tried])
    temperature = _temperature(outs[tried.index(grid.index(chosen.params))], rows.y)
    held_out, on_test = _by_fold(outs, chosen.on_test, rows)
    return Baseline(
        name,
        chosen.params,
        held_out.astype(np.float32),
        softmax(chosen.last.scores / temperature).astype(np.float32),
        temperature,
        chosen.last.arrays or {},
        tuple(on_test.astype(np.float32)),
    )


def _choice(outs: Floats, y: Ints) -> int:
    """Which of the scores (n_params, n, n_classes) name most rows rightly."""
    return int(np.argmax((outs.argmax(axis=2) == y).mean(axis=1)))


def _by_fold(outs: Floats, on_test: Floats, rows: Rows) -> tuple[Floats, Floats]:
    """Probabilities of each fold and of the test rows, by what is best on the other folds.

    Args:
        outs: scores of each point, (n_params, n, n_classes).
        on_test: scores of test rows by the best without each fold, (n_folds, n_test, n_classes).
        rows: what they are of.
    """
    proba, proba_test = np.zeros(outs.shape[1:]), np.zeros_like(on_test)
    for number, fold in enumerate(np.unique(rows.fold)):
        out = rows.fold == fold
        scores = outs[_choice(outs[:, ~out], rows.y[~out])]
        temperature = _temperature(scores[~out], rows.y[~out])
        proba[out] = softmax(scores[out] / temperature)
        proba_test[number] = softmax(on_test[number] / temperature)
    return proba, proba_test


def _temperature(scores: Floats, y: Ints) -> float:
    """What to divide scores by so that their softmax is as likely as can be; order stays.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599.
    """

    def loss(log_temperature: float) -> float:
        log_proba = log_softmax(scores / np.exp(log_temperature))
        return -float(log_proba[np.arange(len(y)), y].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-5.0, 5.0), method="bounded").x))
