"""Every point of a conditional space, counted exactly: what the sampler `grid` tries.

It walks the space as a trial does, choice by choice, so parameters that exist only under another's
value are counted only there.
"""

from collections.abc import Iterator
from typing import Any

from chorale.datasets.errors import UserError
from chorale.datasets.seeds import Purpose, generator
from chorale.lightning_models.distributions import (
    CategoricalDistribution,
    Distribution,
    FloatDistribution,
    IntDistribution,
)
from chorale.search.config.space import SearchSpace

MOST = 10_000
"""A grid of more points than this is refused: nobody could train them all."""

Point = dict[str, Any]


def problems(space: SearchSpace) -> list[str]:
    """Why `space` cannot be enumerated, one line for each reason; empty where it can."""
    ranges: dict[str, FloatDistribution] = {}
    n = 0
    for n, _ in enumerate(_walk(space, ranges), start=1):
        if n > MOST:
            break
    found = [
        f"search.sampler: a grid needs single values, but {name} may be anything from "
        f"{one.low:g} to {one.high:g}; write space.{name}: {{choice: [...]}}, or one value"
        for name, one in sorted(ranges.items())
    ]
    if n > MOST:
        found.append(
            f"search.sampler: the grid has more than {MOST} points; fix more parameters, each "
            f"with one value under `space` or `train`, or take another sampler"
        )
    return found


def points(space: SearchSpace, *, seed: int) -> list[Point]:
    """Every point once, as full parameter name -> value.

    In an order drawn by `seed`: a budget that ends early has then tried a fair sample of the grid.

    Raises:
        UserError: the space has a continuous range or too many points (see `problems`).
    """
    if found := problems(space):
        raise UserError("; ".join(found))
    every = list(_walk(space, {}))
    order = generator(seed, Purpose.GRID).permutation(len(every))
    return [every[i] for i in order]


def _walk(space: SearchSpace, ranges: dict[str, FloatDistribution]) -> Iterator[Point]:
    """All points in order; continuous ranges count as their lowest value and go into `ranges`."""
    choice: list[int] = []
    while True:
        point: Point = {}
        n_options: list[int] = []

        def pick(
            name: str,
            distribution: Distribution,
            point: Point = point,
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
