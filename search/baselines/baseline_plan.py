"""Plans the baselines' grid search: which classifiers and parameters, in which order, in what time.

`search.baselines.baselines` runs the plan.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorale.search.baselines.classifiers import (
    GRIDS,
    ON_EVERY_EMBEDDING,
    BaselineData,
    grid_of,
    is_one_vs_rest,
    middle_point,
)
from chorale.search.baselines.fit_costs import expected_s
from chorale.search.baselines.names import baseline_name
from chorale.search.baselines.track_statistics import StatisticsLayout

MIN_LIMIT_S = 30.0
"""The time limit of all baselines together, however short the search was."""

SHARE_OF_SEARCH = 0.1
"""The time limit as a share of the time that the search's trials took."""

IN_PROCESS_S = 20.0
"""Plans expected to take less run in this process: each worker process would first import
scikit-learn, which takes seconds."""


def limit_s(search_s: float) -> float:
    """The seconds allowed for all fits together, after trials that took `search_s` together."""
    return max(MIN_LIMIT_S, SHARE_OF_SEARCH * search_s)


@dataclass(frozen=True)
class GridPoint:
    """A baseline with one combination of its parameters: its name and the index in its grid."""

    name: str
    index: int


@dataclass(frozen=True)
class Source:
    """What a baseline is: a classifier of `classifiers.GRIDS` on the statistics of a feature set.

    All `data` of a plan have the same rows, labels and folds.
    """

    classifier: str
    features: str
    layout: StatisticsLayout
    data: BaselineData

    def columns(self, params: Mapping[str, Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The columns of development and of test rows that it reads with these parameters."""
        columns = self.layout.columns(params["statistics"])
        return self.data.x[:, columns], self.data.x_test[:, columns]


@dataclass(frozen=True)
class BaselinePlan:
    """All candidate fits; `expected_s` are the seconds of all folds of a point.

    `sources` and `grids` map the name of each baseline to what it is and to its parameters.
    """

    sources: Mapping[str, Source]
    grids: Mapping[str, list[dict[str, Any]]]
    expected_s: Mapping[GridPoint, float]
    n_folds: int

    @property
    def is_small(self) -> bool:
        """Whether starting worker processes would cost more than it saves."""
        return sum(self.expected_s.values()) < IN_PROCESS_S

    @property
    def first(self) -> list[GridPoint]:
        """One point of each baseline, cheapest first."""
        points = [GridPoint(name, middle_point(grid)) for name, grid in self.grids.items()]
        return sorted(points, key=lambda point: self.expected_s[point])

    def first_that_fit(self, left_s: float) -> list[GridPoint]:
        """Those of `first` that are expected to finish in time, with their final fits."""
        found = []
        for point in self.first:
            if (left_s := left_s - self._with_final(point, self.expected_s[point])) < 0:
                break
            found.append(point)
        return found

    def rest_that_fit(self, left_s: float, measured: Mapping[GridPoint, float]) -> list[GridPoint]:
        """Further points, cheapest first, of the baselines whose first point is `measured`."""
        slowness = {p.name: took_s / self.expected_s[p] for p, took_s in measured.items()}
        left_s -= sum(self._with_final(p, took_s) - took_s for p, took_s in measured.items())
        rest = [p for p in self.expected_s if p.name in slowness and p not in measured]
        costs_s = {point: slowness[point.name] * self.expected_s[point] for point in rest}
        found = []
        for point in sorted(rest, key=costs_s.__getitem__):
            if (left_s := left_s - costs_s[point]) < 0:
                break
            found.append(point)
        return found

    def left_out(self, done: Collection[GridPoint]) -> list[str]:
        """A line for each baseline of which points were left out."""
        lines = []
        for name, grid in self.grids.items():
            n = sum(point.name == name for point in done)
            if n == 0:
                lines.append(f"{name} was left out for lack of time")
            elif n < len(grid):
                lines.append(f"{name} was tried with {n} of {len(grid)} settings for lack of time")
        return lines

    def _with_final(self, point: GridPoint, folds_s: float) -> float:
        """Adds the final fit on all rows and, where parameters are chosen, the refits on folds."""
        n_on_folds = 1 if len(self.grids[point.name]) == 1 else 2
        return folds_s * (n_on_folds + 1.5 / self.n_folds)


def make_baseline_plan(
    data: BaselineData,
    layout: StatisticsLayout,
    *,
    features: str = "",
    names: Sequence[str] | None = None,
) -> BaselinePlan:
    """The plan for data of a given number of rows, columns, folds and classes.

    Args:
        data: the training data.
        layout: of its columns.
        features: the feature set that they are of.
        names: classifiers; by default all of `GRIDS`.
    """
    sources = {name: Source(name, features, layout, data) for name in names or GRIDS}
    return _plan_of(sources, data.n_folds)


def add_embeddings(
    plan: BaselinePlan, others: Mapping[str, tuple[BaselineData, StatisticsLayout]]
) -> BaselinePlan:
    """The plan, with the classifiers `ON_EVERY_EMBEDDING` on further feature sets.

    `others` maps a feature set to its data, of the plan's rows and folds, and its layout.
    """
    more = {
        baseline_name(kind, features): Source(kind, features, layout, data)
        for features, (data, layout) in others.items()
        for kind in ON_EVERY_EMBEDDING
        if kind in GRIDS
    }
    return _plan_of({**plan.sources, **more}, plan.n_folds)


def _plan_of(sources: Mapping[str, Source], n_folds: int) -> BaselinePlan:
    grids = {name: _grid(source) for name, source in sources.items()}
    grids = {name: grid for name, grid in grids.items() if grid}
    expected = {
        GridPoint(name, index): n_folds * _expected_s(sources[name], params, len(grid))
        for name, grid in grids.items()
        for index, params in enumerate(grid)
    }
    return BaselinePlan({name: sources[name] for name in grids}, grids, expected, n_folds)


def _grid(source: Source) -> list[dict[str, Any]]:
    return grid_of(source.classifier, source.layout, n_train=_n_train(source.data))


def _n_train(data: BaselineData) -> int:
    return min(int(data.train_rows(fold).sum()) for fold in data.folds)


def _expected_s(source: Source, params: Mapping[str, Any], n_points: int) -> float:
    """Seconds of a fit on one fold."""
    data, layout = source.data, source.layout
    sizes = [int(data.valid_rows(fold).sum()) for fold in data.folds]
    return expected_s(
        source.classifier,
        n_rows=_n_train(data),
        n_new=max(sizes) + (len(data.x_test) if n_points == 1 else 0),
        n_columns=layout.n_columns(params["statistics"]),
        n_classes=data.n_classes,
        one_vs_rest=is_one_vs_rest(source.classifier, data.y),
        pooled=layout.is_embedding,
    )
