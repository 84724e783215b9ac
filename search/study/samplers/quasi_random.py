"""Quasi-random (Sobol) points of a conditional space: each parameter name is a dimension.

They cover the space evenly before a model proposes, and fill in values that a known-good point
lacks. A trial's point depends only on its number, so it is the same after an interruption.

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

from chorale.search import interrupts


class IndependentSampler(BaseSampler):
    """A sampler that draws each parameter independently."""

    def infer_relative_search_space(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
    ) -> dict[str, BaseDistribution]:
        """No parameters are drawn jointly."""
        return {}

    def sample_relative(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,  # noqa: ARG002
        search_space: dict[str, BaseDistribution],  # noqa: ARG002
    ) -> dict[str, Any]:
        """No values."""
        return {}


class QuasiRandomSampler(IndependentSampler):
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
        """The value of the parameter `name` at point `number`."""
        if number >= len(self._points):
            # A power of two, as only then is the sequence balanced.
            self._points = self._first_points(2 ** max(4, number.bit_length()))
        return from_unit(distribution, float(self._points[number, self._dimension[name]]))

    def _first_points(self, n: int) -> np.ndarray:
        """The first `n` points, float64 `(n, n_names)`.

        SciPy's compiled code prints an exception that a signal raises in it, and goes on.
        """
        with interrupts.deferred():
            from scipy.stats import qmc  # takes a second; the first trials have known-good points

            engine = qmc.Sobol(len(self._dimension), rng=np.random.default_rng(self._seed))
            return np.asarray(engine.random(n))


def from_unit(distribution: BaseDistribution, u: float) -> Any:
    """The value at the quantile `u`, in [0, 1), of a distribution, uniform in its scale."""
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
    """The quantile of `value`, in [0, 1); the inverse of `from_unit`."""
    if isinstance(distribution, CategoricalDistribution):
        return (distribution.choices.index(value) + 0.5) / len(distribution.choices)
    low, high, step, log = _bounds(distribution)
    if log:
        return (math.log(value) - math.log(low)) / max(math.log(high) - math.log(low), 1e-12)
    if step is not None:
        return float((value - low) / step + 0.5) / (round((high - low) / step) + 1)
    return float(value - low) / max(high - low, 1e-12)


def _bounds(distribution: BaseDistribution) -> tuple[float, float, float | None, bool]:
    """Low, high, step, whether logarithmic; log-scaled integers extend by 0.5 on either side."""
    if isinstance(distribution, IntDistribution):
        if distribution.log:
            return distribution.low - 0.5, distribution.high + 0.5, None, True
        return distribution.low, distribution.high, distribution.step, False
    if isinstance(distribution, FloatDistribution):
        return distribution.low, distribution.high, distribution.step, distribution.log
    raise TypeError(f"a distribution of an unknown kind: {distribution!r}")
