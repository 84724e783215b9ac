"""Number formatting: the Jinja filters of the report page; a missing value is a dash.

Prose writes "87.5 %", tables and charts "87.5%".
"""

from collections.abc import Mapping, Sequence
from typing import Any

DASH = "\N{EN DASH}"


def pct(value: float | None) -> str:
    """0.875 -> "87.5%"."""
    return DASH if value is None else f"{value:.1%}"


def percent(value: float, digits: int = 1) -> str:
    """0.875 -> "87.5 %", for sentences."""
    return f"{100 * value:.{digits}f} %"


def signed_points(value: float) -> str:
    """Percentage points with their sign: 0.031 -> "+3.1"."""
    return f"{100 * value:+.1f}"


def interval(ends: Sequence[float]) -> str:
    """[0.7, 0.9] -> "70.0% – 90.0%"."""
    return f"{ends[0]:.1%} {DASH} {ends[1]:.1%}"


def dec1(value: float | None) -> str:
    """One decimal."""
    return DASH if value is None else f"{value:.1f}"


def dec3(value: float | None) -> str:
    """Three decimals."""
    return DASH if value is None else f"{value:.3f}"


def four_digits(value: float | None) -> str:
    """Four significant digits, or all digits of a large number."""
    if value is None:
        return DASH
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def integer(value: float | None) -> str:
    """An integer with thousands separators."""
    return DASH if value is None else f"{value:,.0f}"


def hours(seconds: float) -> str:
    """Seconds as hours: two decimals below 10 h, else none."""
    value = seconds / 3600
    return f"{value:.2f} h" if value < 10 else f"{value:,.0f} h"


def params_line(params: Mapping[str, Any], most: int | None = None) -> str:
    """The first `most` hyperparameters on one line, floats with three significant digits."""
    return ", ".join(f"{name} {_value(value)}" for name, value in [*params.items()][:most])


def _value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
