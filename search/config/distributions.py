"""Converts the search distributions that architectures declare into Optuna's, and back.

`search.config.space` converts whole spaces.
"""

from collections.abc import Mapping

import optuna
from optuna.distributions import BaseDistribution

from chorale.lightning_models.distributions import (
    CategoricalDistribution,
    Distribution,
    FloatDistribution,
    IntDistribution,
)


def to_optuna(declared: Distribution) -> BaseDistribution:
    """The Optuna distribution with the same values.

    Raises:
        TypeError: it is no distribution of `lightning_models.distributions`.
    """
    match declared:
        case CategoricalDistribution(choices):
            return optuna.distributions.CategoricalDistribution(choices)
        case FloatDistribution(low, high, log, step):
            return optuna.distributions.FloatDistribution(low, high, log=log, step=step)
        case IntDistribution(low, high, log, step):
            return optuna.distributions.IntDistribution(low, high, log=log, step=step)
    raise TypeError(f"expected a declared distribution, but got {declared!r}")


def optuna_space(declared: Mapping[str, Distribution]) -> dict[str, BaseDistribution]:
    """A whole space: name -> distribution, in the same order."""
    return {name: to_optuna(distribution) for name, distribution in declared.items()}


def from_optuna(known: BaseDistribution) -> Distribution:
    """The declared distribution with the same values as Optuna's.

    Raises:
        TypeError: Optuna's kind has no counterpart.
    """
    match known:
        case optuna.distributions.CategoricalDistribution():
            return CategoricalDistribution(known.choices)
        case optuna.distributions.FloatDistribution():
            return FloatDistribution(known.low, known.high, known.log, known.step)
        case optuna.distributions.IntDistribution():
            return IntDistribution(known.low, known.high, known.log, known.step)
    raise TypeError(f"expected a distribution of numbers or choices, but got {known!r}")
