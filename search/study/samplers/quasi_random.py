"""Quasi-random points of a conditional space: each parameter name is a dimension of its own.

They spread evenly over the whole space before a model proposes, and stand in where a known-good
point leaves a value open. A trial's point follows from its number alone, so it is the same after
an interruption.

Source: Sobol 1967, "On the distribution of points in a cube and the approximate evaluation of
integrals", doi:10.1016/0041-5553(67)90144-9; scrambled as in Owen 1998, doi:10.1006/jcom.1998.0487.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial


class ByName(BaseSampler):
    """A sampler that draws each value by itself."""

    def infer_relative_search_space(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """Nothing is drawn together."""
        return {}

    def sample_relative(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
        search_space: dict[str, BaseDistribution],  # noqa: ARG002
    ) -> dict[str, Any]:
        """Nothing."""
        return {}


class QuasiRandomSampler(ByName):
    """Gives trial number n the n-th point of a scrambled Sobol sequence over `names`."""

    def __init__(self, names: Sequence[str], *, seed: int) -> None:
        self._dimension = {name: i for i, name in enumerate(names)}
        self._seed = seed
        self._points = np.empty((0, len(names)))

    def sample_independent(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """The point's coordinate of that name."""
        return self.value(trial.number, param_name, param_distribution)

    def value(self, number: int, name: str, distribution: BaseDistribution) -> Any:
        """What point `number` says of the parameter `name`."""
        if number >= len(self._points):
            from scipy.stats import (
                qmc,  # which takes a second: the first points are known-good ones
            )

            # As many points as a power of two: the sequence is even over no other number of them.
            n = 2 ** max(4, number.bit_length())
            engine = qmc.Sobol(len(self._dimension), rng=np.random.default_rng(self._seed))
            self._points = engine.random(n)
        return from_unit(distribution, float(self._points[number, self._dimension[name]]))


def from_unit(distribution: BaseDistribution, u: float) -> Any:
    """The value at the share `u`, in [0, 1), of a distribution; even in its own scale."""
    if isinstance(distribution, CategoricalDistribution):
        choices = distribution.choices
        return choices[min(int(u * len(choices)), len(choices) - 1)]
    low, high, step, log = _bounds(distribution)
    if step is not None and not log:
        n_steps = round((high - low) / step)
        value = low + step * min(int(u * (n_steps + 1)), n_steps)
    elif log:
        value = math.exp(math.log(low) + u * (math.log(high) - math.log(low)))
    else:
        value = low + u * (high - low)
    if isinstance(distribution, IntDistribution):
        return min(max(round(value), distribution.low), distribution.high)
    return min(max(round(value, 12) if step else value, low), high)


def to_unit(distribution: BaseDistribution, value: Any) -> float:
    """The share in [0, 1) of a distribution at which `value` stands; undoes `from_unit`."""
    if isinstance(distribution, CategoricalDistribution):
        return (distribution.choices.index(value) + 0.5) / len(distribution.choices)
    low, high, step, log = _bounds(distribution)
    if log:
        return (math.log(value) - math.log(low)) / max(math.log(high) - math.log(low), 1e-12)
    if step is not None:
        return float((value - low) / step + 0.5) / (round((high - low) / step) + 1)
    return float(value - low) / max(high - low, 1e-12)


def _bounds(distribution: BaseDistribution) -> tuple[float, float, float | None, bool]:
    """Lowest and highest value, step, whether logarithmic; whole numbers own half a step more."""
    if isinstance(distribution, IntDistribution):
        if distribution.log:
            return distribution.low - 0.5, distribution.high + 0.5, None, True
        return distribution.low, distribution.high, distribution.step, False
    if isinstance(distribution, FloatDistribution):
        return distribution.low, distribution.high, distribution.step, distribution.log
    raise TypeError(f"a distribution of an unknown kind: {distribution!r}")
