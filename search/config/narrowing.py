"""Narrows a declared search distribution to the values in a sweep file; never widens it.

`search.config.space` applies it to every parameter that the file names.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from chorale.lightning_models.distributions import (
    CategoricalDistribution,
    Distribution,
    FloatDistribution,
    IntDistribution,
)

RANGE_KINDS = ("float", "log_float", "int", "log_int", "choice")


def narrow_distribution(declared: Distribution, wanted: Any) -> Distribution:
    """The `declared` distribution of an architecture, narrowed to the YAML value `wanted`.

    Raises:
        ValueError: an unknown kind, bounds in the wrong order, or a range wider than declared.
    """
    if not isinstance(wanted, Mapping):
        wanted = {"choice": [wanted]}
    if len(wanted) != 1 or next(iter(wanted)) not in RANGE_KINDS:
        raise ValueError(
            f"should be one value or one of {', '.join(RANGE_KINDS)}, as in "
            f"{{{describe(declared)}}}, but got {dict(wanted)!r}"
        )
    kind, values = next(iter(wanted.items()))
    if not isinstance(values, Sequence) or isinstance(values, str) or not values:
        raise ValueError(
            f"'{kind}' needs a list of at least one value, but got {values!r}; declared is "
            f"{describe(declared)}"
        )
    for value in values:
        if not contains(declared, value):
            raise ValueError(f"{value!r} is outside what is declared: {describe(declared)}")
    if kind == "choice":
        if twice := [v for i, v in enumerate(values) if _among(v, values[:i])]:
            raise ValueError(f"'choice' names {twice[0]!r} twice; name each value once")
        return CategoricalDistribution(tuple(values))
    if isinstance(declared, CategoricalDistribution):
        raise ValueError(f"'{kind}' does not fit a choice: {describe(declared)}")
    if len(values) != 2 or values[0] > values[1]:
        raise ValueError(f"'{kind}' needs [low, high] with low <= high, but got {list(values)!r}")
    low, high = values
    log = kind.startswith("log")
    if log and low <= 0:
        raise ValueError(f"'{kind}' needs low > 0, but got {list(values)!r}; use '{kind[4:]}'")
    if kind.endswith("int"):
        step = declared.step if isinstance(declared, IntDistribution) and not log else 1
        return IntDistribution(int(low), int(high), log=log, step=step)
    if isinstance(declared, IntDistribution):
        raise ValueError(f"'{kind}' does not fit whole numbers: {describe(declared)}")
    return FloatDistribution(float(low), float(high), log=log, step=_kept_step(declared, low, high))


def contains(distribution: Distribution, value: Any) -> bool:
    """Whether `value` lies inside `distribution`; whole numbers in steps must be on a step."""
    if isinstance(distribution, CategoricalDistribution):
        return _among(value, distribution.choices)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if isinstance(distribution, IntDistribution) and (
        not math.isfinite(value) or (value - distribution.low) % distribution.step
    ):
        return False
    return bool(distribution.low <= value <= distribution.high)


def describe(distribution: Distribution) -> str:
    """A distribution in the syntax of a sweep file: `log_float: [0.0001, 0.003]`."""
    if isinstance(distribution, CategoricalDistribution):
        return f"choice: {list(distribution.choices)}"
    is_int = isinstance(distribution, IntDistribution)
    log = "log_" if distribution.log else ""
    low, high = distribution.low, distribution.high
    step = distribution.step if is_int else 1
    steps = f" in steps of {step}" if step != 1 else ""
    return f"{log}{'int' if is_int else 'float'}: [{low}, {high}]{steps}"


def _among(value: Any, choices: Sequence[Any]) -> bool:
    """`in`, but True is not 1 and false is not 0; 3 is 3.0."""
    return any(value == c and isinstance(value, bool) == isinstance(c, bool) for c in choices)


def _kept_step(declared: Distribution, low: float, high: float) -> float | None:
    """The declared step where both new bounds lie on it; else the range is continuous."""
    if isinstance(declared, CategoricalDistribution) or declared.step is None or declared.log:
        return None
    step = declared.step
    start = declared.low
    on_step = all(
        math.isclose(k, round(k), abs_tol=1e-8)
        for k in ((low - start) / step, (high - start) / step)
    )
    return float(step) if on_step else None
