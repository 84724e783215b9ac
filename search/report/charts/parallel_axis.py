"""Where trials cross an axis of parallel coordinates, as fractions of its height."""

import math
from collections.abc import Sequence
from typing import Any

LANE = -0.12
"""The height of the lane "n/a", for trials without the parameter."""

MANY_VALUES = 6
"""Numbers with more different values than this are on a scale, others at equal distances."""

GOLDEN = 0.618034

Value = float | str | bool | None


class AxisPlaces:
    """The heights of one parameter's values on its axis (0 to 1), and the labels beside it."""

    def __init__(self, values: Sequence[Value], *, log: bool = False) -> None:
        known = [value for value in values if value is not None]
        self.ticks: list[tuple[float, str]] = []
        numbers = [
            float(v) for v in known if isinstance(v, int | float) and not isinstance(v, bool)
        ]
        self._on_scale = len(set(numbers)) > MANY_VALUES and len(numbers) == len(known)
        self._ends, self._log = (0.0, 1.0), False
        self._at: dict[Any, float] = {}
        if self._on_scale:
            self._ends = min(numbers), max(numbers)
            self._log = log and self._ends[0] > 0
            self.ticks = [(self._scaled(v), f"{v:.3g}") for v in self._ends]
        else:
            names = sorted(set(known), key=lambda v: (str(type(v)), v))
            for i, name in enumerate(names):
                self._at[name] = (i + 0.5) / len(names)
                label = f"{name:.3g}" if isinstance(name, float) else str(name)
                self.ticks.append((self._at[name], label))
        if len(known) < len(values):
            self.ticks.append((LANE, "n/a"))

    @classmethod
    def of_scores(cls, ends: Sequence[float]) -> "AxisPlaces":
        """An axis of scores between two ends."""
        axis = cls([])
        low, high = ends
        axis._ends, axis._on_scale = (low, high), True
        axis.ticks = [(i / 4, f"{low + (high - low) * i / 4:.2f}") for i in range(5)]
        return axis

    def __call__(self, value: Value, number: int) -> float:
        """The height at which trial `number` crosses the axis.

        Trials with the same one of few values are spread around it by their number.
        """
        apart = (number * GOLDEN) % 1 - 0.5
        if value is None:
            return round(LANE + apart * 0.04, 4)
        if self._on_scale:
            return round(self._scaled(float(value)), 4)
        return round(self._at[value] + apart * 0.55 / len(self._at), 4)

    def _scaled(self, value: float) -> float:
        low, high = self._ends
        if self._log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return 0.5 if high == low else (value - low) / (high - low)
