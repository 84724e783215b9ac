"""Grid search: enumerates every point of a conditional search space, for the sampler `grid`.

It walks the space as a trial does, choice by choice, so conditional parameters are counted only
where they exist.
"""

from collections.abc import Iterator
from typing import Any

from chorale.datasets.errors import UserError
from chorale.datasets.seeds import Purpose, random_generator
from chorale.lightning_models.distributions import (
    CategoricalDistribution,
    Distribution,
    FloatDistribution,
    IntDistribution,
)
from chorale.search.config.space import SearchSpace

MAX_GRID_POINTS = 10_000
"""Larger grids are refused: nobody could train them all."""

SpacePoint = dict[str, Any]


def grid_problems(space: SearchSpace) -> list[str]:
    """Why `space` cannot be enumerated, one line for each reason; empty where it can."""
    ranges: dict[str, FloatDistribution] = {}
    n = 0
    for n, _ in enumerate(_walk(space, ranges), start=1):
        if n > MAX_GRID_POINTS:
            break
    found = [
        f"search.sampler: a grid needs single values, but {name} is continuous, from "
        f"{one.low:g} to {one.high:g}; write space.{name}: {{choice: [...]}}, or one value"
        for name, one in sorted(ranges.items())
    ]
    if n > MAX_GRID_POINTS:
        found.append(
            f"search.sampler: the grid has more than {MAX_GRID_POINTS} points; fix more "
            f"parameters, each with one value under `space` or `train`, or take another sampler"
        )
    return found


def grid_points(space: SearchSpace, *, seed: int) -> list[SpacePoint]:
    """Every point once, as full parameter name -> value.

    Shuffled by `seed`, so that a budget that ends early has tried a random sample of the grid.

    Raises:
        UserError: the space has a continuous range or too many points (see `grid_problems`).
    """
    if found := grid_problems(space):
        raise UserError("; ".join(found))
    every = list(_walk(space, {}))
    order = random_generator(seed, Purpose.GRID).permutation(len(every))
    return [every[i] for i in order]


def _walk(space: SearchSpace, ranges: dict[str, FloatDistribution]) -> Iterator[SpacePoint]:
    """All points in order; a continuous range counts as its lowest value and is put in `ranges`."""
    choice: list[int] = []
    while True:
        point: SpacePoint = {}
        n_options: list[int] = []

        def pick(
            name: str,
            distribution: Distribution,
            point: SpacePoint = point,
            n_options: list[int] = n_options,
        ) -> Any:
            options = _options(name, distribution, ranges)
            place = len(n_options)
            if place == len(choice):
                choice.append(0)
            n_options.append(len(options))
            point[name] = options[choice[place]]
            return point[name]

        space.candidate(pick)
        yield point
        while choice and choice[-1] + 1 == n_options[len(choice) - 1]:
            choice.pop()
        if not choice:
            return
        choice[-1] += 1


def _options(
    name: str, distribution: Distribution, ranges: dict[str, FloatDistribution]
) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    if isinstance(distribution, IntDistribution):
        return list(range(distribution.low, distribution.high + 1, distribution.step))
    if not isinstance(distribution, FloatDistribution):
        raise TypeError(f"{name} has a distribution of an unknown kind: {distribution!r}")
    if distribution.low == distribution.high:
        return [distribution.low]
    if distribution.step is None:
        ranges[name] = distribution
        return [distribution.low]
    n_steps = round((distribution.high - distribution.low) / distribution.step)
    return [round(distribution.low + k * distribution.step, 12) for k in range(n_steps + 1)]
