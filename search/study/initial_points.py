"""How a study opens: which known-good points are tried first, and how many quasi-random ones then.

Worked out once, when the study is made, and kept with it: a resumed study goes on with the same
plan, whatever its budget is by then and whatever else the ledger holds.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from chorale.search.config import grid
from chorale.search.config.schema import Search
from chorale.search.config.space import ARCHITECTURE, SearchSpace

WARM_SHARE = 0.2
"""Points of earlier studies take at most this share of the budget,"""
DEFAULTS_SHARE = 0.5
"""and defaults at most this, so that at least 30 % stays exploration."""

MOST_QUASI_RANDOM = 16
"""At most so many quasi-random points."""

FEWEST_FOR_A_MODEL = 10
"""A model needs about so many trials before it says more than chance."""


@dataclass(frozen=True)
class WarmPoint:
    """A good trial of an earlier study: `source` is "study/number"."""

    params: Mapping[str, Any]
    source: str
    rung: float | None = None
    """its objective when it was judged, where this study's trials can be measured by it"""
    seed_number: int | None = None
    """the number that its training was seeded by, so that the same data gives the same training"""


@dataclass(frozen=True)
class Opening:
    """The first trials' points and where each comes from, in order.

    The first `n_warm` are earlier studies', and `n_quasi_random` follow all. `hurdle` is what the
    typical one of these earlier trials had reached at the pruner's rung: the new ones are compared
    with it, besides with one another. `whole` says that nothing comes after the points: a grid.
    `left_out` says what found no place.
    """

    points: tuple[Mapping[str, Any], ...] = ()
    origins: tuple[str, ...] = ()
    n_quasi_random: int = 0
    n_warm: int = 0
    hurdle: float | None = None
    whole: bool = False
    left_out: tuple[str, ...] = ()
    seed_numbers: tuple[int | None, ...] = ()

    def seed_number(self, number: int) -> int:
        """The number that seeds the training of a trial: its own, or that of the trial it repeats.

        Where data and settings are the same, what an earlier study reached is reached again, to
        the bit; where it is not, something has changed, and it was not chance.
        """
        repeated = self.seed_numbers[number] if number < len(self.seed_numbers) else None
        return number if repeated is None else repeated

    def origin(self, number: int, sampler: str) -> str:
        """Where the trial of that number comes from."""
        if number < len(self.points):
            return self.origins[number]
        return "quasi-random" if number < len(self.points) + self.n_quasi_random else sampler

    def saying(self, more: Sequence[str]) -> "Opening":
        """The same, and what else found no place."""
        return replace(self, left_out=(*self.left_out, *more))

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` undoes it."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Opening":
        """What `to_json` gave."""
        read: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        return cls(**read)


def grid_opening(space: SearchSpace, *, seed: int) -> Opening:
    """The whole grid, and nothing else."""
    points = tuple(grid.points(space, seed=seed))
    return Opening(points, ("grid",) * len(points), whole=True)


def make_opening(
    space: SearchSpace, search: Search, *, n_trials: int, warm: Sequence[WarmPoint] = ()
) -> Opening:
    """The opening of a study of `n_trials`; `warm` are earlier studies' points, best first."""
    if search.sampler == "grid":
        return grid_opening(space, seed=search.seed)
    chosen = list(warm)[: int(WARM_SHARE * n_trials)]
    left_out = []
    if len(chosen) < len(warm):
        left_out.append(
            f"warm start: {len(chosen)} of {len(warm)} points are tried, as {WARM_SHARE:.0%} of "
            f"the budget allows"
        )
    points = [dict(one.params) for one in chosen]
    defaults = [point for point in space.defaults() if point not in points]
    # A single trial is better a known-good one than a random one.
    room = max(int(DEFAULTS_SHARE * n_trials), 0 if points else 1)
    if len(defaults) > room:
        left_out.append(_missing(space, defaults, room))
    points += defaults[:room]
    n_left = n_trials - len(points)
    rungs = [one.rung for one in chosen if one.rung is not None]
    n_quasi_random = max(n_trials // 4, FEWEST_FOR_A_MODEL - len(points))
    return Opening(
        tuple(points),
        tuple(
            [f"warm start from {one.source}" for one in chosen]
            + ["default"] * (len(points) - len(chosen))
        ),
        n_quasi_random=max(0, min(n_quasi_random, MOST_QUASI_RANDOM, n_left)),
        n_warm=len(chosen),
        hurdle=None if not rungs else statistics.median(rungs),
        left_out=tuple(left_out),
        seed_numbers=tuple(one.seed_number for one in chosen),
    )


def _missing(space: SearchSpace, defaults: Sequence[Mapping[str, Any]], room: int) -> str:
    tried = {point[ARCHITECTURE] for point in defaults[:room]}
    without = [name for name in space.architectures if name not in tried]
    said = f"defaults: {room} of {len(defaults)} are tried, half of the budget"
    if without:
        said += f"; {', '.join(without)} start without one"
    return said + f"; --budget.trials {2 * len(defaults)} tries all"
