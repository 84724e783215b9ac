"""Search space distributions without Optuna: categorical, float and int.

Architectures declare their spaces with these; `search.config.distributions` converts them to
Optuna's. So inference works where Optuna is not installed.
"""

import math
from dataclasses import dataclass
from typing import Any

ChoiceValue = None | bool | int | float | str


@dataclass(frozen=True)
class CategoricalDistribution:
    """One of a few values; the first is the one that switches a feature off, if there is one."""

    choices: tuple[ChoiceValue, ...]

    def __post_init__(self) -> None:
        if not self.choices:
            raise ValueError("a choice needs at least one value, but got choices=()")

    def contains(self, value: Any) -> bool:
        """Whether `value` is one of the choices."""
        return value in self.choices


@dataclass(frozen=True)
class FloatDistribution:
    """A number from `low` to `high`, both included; on a logarithmic scale, or in steps."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __post_init__(self) -> None:
        _check(self.low, self.high, log=self.log, stepped=self.step is not None)

    def contains(self, value: Any) -> bool:
        """Whether `value` is in the range, and on a step if there are steps."""
        if not _is_number(value) or not self.low <= value <= self.high:
            return False
        if self.step is None:
            return True
        n_steps = (value - self.low) / self.step
        return math.isclose(n_steps, round(n_steps), abs_tol=1e-8)


@dataclass(frozen=True)
class IntDistribution:
    """An integer from `low` to `high`, both included; on a logarithmic scale, or in steps."""

    low: int
    high: int
    log: bool = False
    step: int = 1

    def __post_init__(self) -> None:
        _check(self.low, self.high, log=self.log, stepped=self.step != 1)

    def contains(self, value: Any) -> bool:
        """Whether `value` is an integer of the range, on a step."""
        inside = _is_number(value) and self.low <= value <= self.high
        return inside and (value - self.low) % self.step == 0


Distribution = CategoricalDistribution | FloatDistribution | IntDistribution


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check(low: float, high: float, *, log: bool, stepped: bool) -> None:
    if low > high:
        raise ValueError(f"a range goes from low to high, but got {low=}, {high=}")
    if log and (low <= 0 or stepped):
        raise ValueError(f"a logarithmic range starts above 0 and has no steps, but got {low=}")
