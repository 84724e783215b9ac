"""Numbers as the page writes them; what is not known is a dash."""

from collections.abc import Mapping, Sequence
from typing import Any

DASH = "\N{EN DASH}"


def pct(value: float | None) -> str:
    """0.875 -> "87.5%"."""
    return DASH if value is None else f"{value:.1%}"


def points(value: float) -> str:
    """0.031 -> "+3.1": hundredths, with their sign."""
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


def short(value: float | None) -> str:
    """Four digits, or all of a large number."""
    if value is None:
        return DASH
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def whole(value: float | None) -> str:
    """Thousands set apart."""
    return DASH if value is None else f"{value:,.0f}"


def hours(seconds: float) -> str:
    """Seconds as hours, to as many digits as mean something."""
    value = seconds / 3600
    return f"{value:.2f} h" if value < 10 else f"{value:,.0f} h"


def settings(params: Mapping[str, Any], most: int | None = None) -> str:
    """Hyperparameters on a line, the first `most` of them; numbers to three digits."""
    return ", ".join(f"{name} {_value(value)}" for name, value in [*params.items()][:most])


def _value(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
