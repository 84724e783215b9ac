"""Parallel coordinates over a conditional search space: one line per trial, one axis per parameter.

The line of a trial without a parameter passes below its axis, on the lane "n/a".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from chorale.search.report.charts import svg

TOP, TALL, LANE = 46, 250, 30
GOLDEN = 0.618034
MANY_LINES = 120
"""From this number of trials on, lines are drawn paler."""

SHADES = 5
"""Lines are coloured by quintile of the objective."""

Value = float | str | bool | None


@dataclass(frozen=True)
class TrialLine:
    """One trial: its parameters and its objective."""

    number: int
    value: float
    params: Mapping[str, Value]
    tooltip: str


@dataclass(frozen=True)
class Axis:
    """A parameter: its key in `TrialLine.params`, its label, whether its scale is logarithmic."""

    name: str
    label: str
    log: bool = False


def parallel(
    lines: Sequence[TrialLine], axes: Sequence[Axis], *, key: str, objective: str
) -> Markup:
    """Draws the axes from left to right, the objective last.

    Source: Inselberg 1985, "The plane with parallel coordinates", doi:10.1007/BF01898350.
    """
    wide = max(svg.CHART_WIDTH, 92 * (len(axes) + 1))
    step = (wide - 130) / max(len(axes), 1)
    at = [60 + step * i for i in range(len(axes) + 1)]
    places = [_Places(axis, lines) for axis in axes]
    ends = svg.padded_range([one.value for one in lines])
    y = svg.AxisScale(*ends, TOP + TALL, TOP)
    marks = []
    ranked = sorted(lines, key=lambda one: one.value)
    many = " many" if len(ranked) >= MANY_LINES else ""
    for rank, one in enumerate(ranked):
        shade = min(rank * SHADES // len(ranked), SHADES - 1)
        points = [
            (x, place(one.params.get(axis.name), one.number))
            for x, axis, place in zip(at, axes, places, strict=False)
        ]
        points.append((at[-1], y(one.value)))
        marks.append(
            svg.element(
                "g",
                svg.tooltip(one.tooltip),
                svg.polyline(points),
                class_=f"thread shade-{shade}{many}",
            )
        )
    marks += [_axis(x, axis, place) for x, axis, place in zip(at, axes, places, strict=False)]
    marks.append(svg.line(at[-1], TOP, at[-1], TOP + TALL, stroke=svg.MUTED))
    marks.append(svg.text(at[-1], TOP - 26, objective, anchor="middle", font_weight="600"))
    marks += [
        svg.text(at[-1] + 8, y(tick), f"{tick:.2f}", fill=svg.MUTED, font_size=11)
        for tick in svg.ticks(*ends, 4)
    ]
    best = ranked[-1]
    params = ", ".join(f"{a.label} {best.params.get(a.name, 'n/a')}" for a in axes)
    return svg.chart(
        f"parallel-{key}",
        *marks,
        title=f"Parallel coordinates of {len(lines)} trials",
        desc=f"The best is trial {best.number} with {best.value:.3f}: {params}.",
        height=TOP + TALL + LANE + 16,
        width=wide,
    )


class _Places:
    """The heights of one parameter's values on its axis, and the labels beside it."""

    def __init__(self, axis: Axis, lines: Sequence[TrialLine]) -> None:
        values = [one.params.get(axis.name) for one in lines]
        known = [value for value in values if value is not None]
        self.has_gaps = len(known) < len(values)
        self.ticks: list[tuple[float, str]] = []
        numbers = [
            float(v) for v in known if isinstance(v, int | float) and not isinstance(v, bool)
        ]
        self._scale: svg.AxisScale | None = None
        self._at: dict[Any, float] = {}
        if known and len(numbers) == len(known) and len(set(numbers)) > 6:
            low, high = min(numbers), max(numbers)
            self._scale = svg.AxisScale(low, high, TOP + TALL, TOP, log=axis.log and low > 0)
            self.ticks = [(self._scale(v), f"{v:.3g}") for v in (low, high)]
        else:
            names = sorted(set(known), key=lambda v: (str(type(v)), v))
            for i, name in enumerate(names):
                share = (i + 0.5) / len(names)
                self._at[name] = TOP + TALL - share * TALL
                label = f"{name:.3g}" if isinstance(name, float) else str(name)
                self.ticks.append((self._at[name], label))

    def __call__(self, value: Value, number: int) -> float:
        """The height at which trial `number` crosses the axis.

        Trials with the same one of few values are spread around it by their number.
        """
        apart = (number * GOLDEN) % 1 - 0.5
        if value is None:
            return TOP + TALL + LANE + apart * 10
        if self._scale is not None:
            return self._scale(float(value))
        return self._at[value] + apart * 0.55 * TALL / len(self._at)


def _axis(x: float, axis: Axis, place: _Places) -> Markup:
    marks = [
        svg.line(x, TOP, x, TOP + TALL, stroke=svg.MUTED),
        svg.group(
            svg.tooltip(axis.name),
            svg.text(x, TOP - 26, svg.shortened(axis.label, 14), anchor="middle", font_size=11,
                     font_weight="600"),
        ),
    ]  # fmt: skip
    if place.has_gaps:
        lane = TOP + TALL + LANE
        marks.append(svg.line(x - 14, lane, x + 14, lane, stroke=svg.MUTED, stroke_dasharray="2 3"))
        marks.append(svg.text(x, lane + 10, "n/a", anchor="middle", fill=svg.MUTED, font_size=10))
    for y, label in place.ticks:
        marks.append(
            svg.text(x + 5, y, svg.shortened(label, 13), font_size=10.5, fill=svg.INK,
                     class_="halo")
        )  # fmt: skip
    return svg.group(*marks)
