"""The initial points of a study: known-good configurations first, then quasi-random ones.

They are determined once, when the study is created, and stored in it: a resumed study continues
with the same ones, whatever its budget is then and whatever else is in the ledger.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from types import MappingProxyType
from typing import Any

from chorale.search.config import grid
from chorale.search.config.schema import SearchConfig
from chorale.search.config.space import ARCHITECTURE, SearchSpace

MAX_WARM_SHARE = 0.2
"""The largest share of the budget for points of earlier studies (warm start)."""
MAX_DEFAULTS_SHARE = 0.5
"""The largest share of the budget for defaults, so that at least 30 % is exploration."""

MAX_QUASI_RANDOM = 16
"""The largest number of quasi-random points."""

MIN_TRIALS_FOR_MODEL = 10
"""About as many trials as a model needs before it beats random search."""


@dataclass(frozen=True)
class WarmPoint:
    """A good trial of an earlier study: `source` is "study/number"."""

    params: Mapping[str, Any]
    source: str
    rung: float | None = None
    """its objective at the pruner's rung, if that is comparable with this study's trials"""
    seed_number: int | None = None
    """the trial number that seeded its training, so that it can be repeated exactly"""


@dataclass(frozen=True)
class InitialPoints:
    """The points of the first trials and the origin of each, in order.

    The first `n_warm` are of earlier studies; after all points come `n_quasi_random` quasi-random
    ones. `rungs` are the objectives of these earlier trials at the pruner's rung, where they are
    comparable. `whole` is true for a grid, where nothing follows the points. `left_out` are lines
    about points that are not tried.
    """

    points: tuple[Mapping[str, Any], ...] = ()
    origins: tuple[str, ...] = ()
    n_quasi_random: int = 0
    n_warm: int = 0
    rungs: tuple[float | None, ...] = ()
    whole: bool = False
    left_out: tuple[str, ...] = ()
    seed_numbers: tuple[int | None, ...] = ()

    def seed_number(self, number: int) -> int:
        """The number that seeds the training of a trial: its own, or that of the trial it repeats.

        With the same data and settings, an earlier study's result is reproduced bit for bit; if it
        is not, something has changed, and the difference is not chance.
        """
        repeated = self.seed_numbers[number] if number < len(self.seed_numbers) else None
        return number if repeated is None else repeated

    def origin(self, number: int, sampler: str) -> str:
        """The origin of the trial of that number: a point's, "quasi-random", or `sampler`."""
        if number < len(self.points):
            return self.origins[number]
        return "quasi-random" if number < len(self.points) + self.n_quasi_random else sampler

    def hurdles(self, kind: Callable[[Mapping[str, Any]], object]) -> dict[object, float]:
        """The median objective at the pruner's rung of the earlier trials of each kind of point.

        New trials of that kind are compared with it as well as with one another.
        """
        rungs: dict[object, list[float]] = {}
        for point, rung in zip(self.points[: len(self.rungs)], self.rungs, strict=True):
            if rung is not None:
                rungs.setdefault(kind(point), []).append(rung)
        return {one: statistics.median(values) for one, values in rungs.items()}

    def with_left_out(self, more: Sequence[str]) -> "InitialPoints":
        """The same points, with further lines in `left_out`."""
        return replace(self, left_out=(*self.left_out, *more))

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values; the inverse of `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "InitialPoints":
        """The inverse of `to_json`."""
        names = {one.name for one in fields(cls)}  # an older study has a hurdle of all kinds
        read: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in names
        }
        return cls(**read)


def grid_initial_points(space: SearchSpace, *, seed: int) -> InitialPoints:
    """All points of the grid, and nothing else."""
    points = tuple(grid.grid_points(space, seed=seed))
    return InitialPoints(points, ("grid",) * len(points), whole=True)


def make_initial_points(
    space: SearchSpace,
    search: SearchConfig,
    *,
    n_trials: int,
    n_expected: int | None = None,
    warm: Sequence[WarmPoint] = (),
    costs: Mapping[str, float] = MappingProxyType({}),
) -> InitialPoints:
    """The initial points of a study of at most `n_trials`, of which time may allow `n_expected`.

    `warm` are earlier studies', best first; none of them is pruned. `costs` maps architectures
    to the seconds of a trial: the first defaults come in the order of their costs, then the second
    ones, etc.
    """
    if search.sampler == "grid":
        return grid_initial_points(space, seed=search.seed)
    chosen = list(warm)[: int(MAX_WARM_SHARE * (n_trials if n_expected is None else n_expected))]
    left_out = []
    if len(chosen) < len(warm):
        left_out.append(
            f"warm start: {len(chosen)} of {len(warm)} points are tried, at most "
            f"{MAX_WARM_SHARE:.0%} of the budget"
        )
    points = [dict(one.params) for one in chosen]
    defaults = [point for point in space.defaults(costs) if point not in points]
    # If there is only one trial, a known-good point is better than a random one.
    room = max(int(MAX_DEFAULTS_SHARE * n_trials), 0 if points else 1)
    if len(defaults) > room:
        left_out.append(_defaults_left_out(space, defaults, room))
    points += defaults[:room]
    n_left = n_trials - len(points)
    n_quasi_random = max(n_trials // 4, MIN_TRIALS_FOR_MODEL - len(points))
    return InitialPoints(
        tuple(points),
        tuple(
            [f"warm start from {one.source}" for one in chosen]
            + ["default"] * (len(points) - len(chosen))
        ),
        n_quasi_random=max(0, min(n_quasi_random, MAX_QUASI_RANDOM, n_left)),
        n_warm=len(chosen),
        rungs=tuple(one.rung for one in chosen),
        left_out=tuple(left_out),
        seed_numbers=tuple(one.seed_number for one in chosen),
    )


def _defaults_left_out(space: SearchSpace, defaults: Sequence[Mapping[str, Any]], room: int) -> str:
    tried = {point[ARCHITECTURE] for point in defaults[:room]}
    without = [name for name in space.architectures if name not in tried]
    line = f"defaults: {room} of {len(defaults)} are tried, half of the budget"
    if without:
        line += f"; {', '.join(without)} start without one"
    return line + f"; --budget.trials {2 * len(defaults)} tries all"
