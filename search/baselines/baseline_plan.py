"""Which classifiers are tried with which parameters, in which order, and what fits into a time.

`search.baselines.baselines` does what is planned here.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chorale.search.baselines.classifiers import GRIDS, Rows, expected_s, first_of, grid_of
from chorale.search.baselines.track_statistics import Description

FLOOR_S = 30.0
"""Baselines may take so long however short the search was."""
SHARE = 0.1
"""They may take so much of what the trials of the search took."""


ALONE_S = 20.0
"""Work that is expected to be less is done in this process: others would import scikit-learn first,
which takes each of them seconds."""


def limit_s(search_s: float) -> float:
    """Seconds that all fits together may take, after trials that took `search_s` together."""
    return max(FLOOR_S, SHARE * search_s)


@dataclass(frozen=True)
class Point:
    """A classifier with one combination of its parameters: the number `at` of its grid."""

    name: str
    at: int


@dataclass(frozen=True)
class Plan:
    """All that might be tried; `expected_s` are seconds of all folds of a point."""

    description: Description
    grids: Mapping[str, list[dict[str, Any]]]
    expected_s: Mapping[Point, float]
    n_folds: int

    @property
    def is_small(self) -> bool:
        """Whether other processes would cost more than they help."""
        return sum(self.expected_s.values()) < ALONE_S

    @property
    def first(self) -> list[Point]:
        """One point of each classifier, the cheapest first."""
        points = [Point(name, first_of(grid)) for name, grid in self.grids.items()]
        return sorted(points, key=lambda point: self.expected_s[point])

    def first_that_fit(self, left_s: float) -> list[Point]:
        """Those of `first` that are expected to be over in time, with the fit on all folds."""
        found = []
        for point in self.first:
            if (left_s := left_s - self._with_last(point, self.expected_s[point])) < 0:
                break
            found.append(point)
        return found

    def rest_that_fit(self, left_s: float, measured: Mapping[Point, float]) -> list[Point]:
        """What else can be tried of classifiers whose first point is `measured`, cheapest first."""
        ratio = {p.name: took_s / self.expected_s[p] for p, took_s in measured.items()}
        left_s -= sum(self._with_last(p, took_s) - took_s for p, took_s in measured.items())
        rest = [p for p in self.expected_s if p.name in ratio and p not in measured]
        costs = {point: ratio[point.name] * self.expected_s[point] for point in rest}
        found = []
        for point in sorted(rest, key=costs.__getitem__):
            if (left_s := left_s - costs[point]) < 0:
                break
            found.append(point)
        return found

    def left_out(self, done: Collection[Point]) -> list[str]:
        """A line for each classifier of which something was left out."""
        lines = []
        for name, grid in self.grids.items():
            n = sum(point.name == name for point in done)
            if n == 0:
                lines.append(f"{name} was left out for lack of time")
            elif n < len(grid):
                lines.append(f"{name} was tried with {n} of {len(grid)} settings for lack of time")
        return lines

    def _with_last(self, point: Point, folds_s: float) -> float:
        """With the fit on all rows, and where there is a choice those of the chosen on folds."""
        n_on_folds = 1 if len(self.grids[point.name]) == 1 else 2
        return folds_s * (n_on_folds + 1.5 / self.n_folds)


def make_plan(rows: Rows, description: Description, *, names: Sequence[str] | None = None) -> Plan:
    """The plan for so many rows, columns, folds and classes.

    Args:
        rows: what is learnt from.
        description: of its features.
        names: classifiers; by default all of `GRIDS`.
    """
    sizes = [int((rows.fold == fold).sum()) for fold in set(rows.fold.tolist())]
    n_least = len(rows.y) - max(sizes)
    grids = {name: grid_of(name, description, n_least=n_least) for name in names or GRIDS}
    grids = {name: grid for name, grid in grids.items() if grid}
    expected = {
        Point(name, at): rows.n_folds
        * expected_s(
            name,
            n_rows=n_least,
            n_new=max(sizes) + (len(rows.x_test) if len(grid) == 1 else 0),
            n_columns=description.n_columns(params["statistics"]),
            n_classes=rows.n_classes,
        )
        for name, grid in grids.items()
        for at, params in enumerate(grid)
    }
    return Plan(description, grids, expected, rows.n_folds)
