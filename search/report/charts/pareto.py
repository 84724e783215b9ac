"""Pareto front: finished trials by two objectives, with the non-dominated ones marked."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from chorale.search.report.charts import svg

LEFT, TOP, TALL = 56, 34, 290


@dataclass(frozen=True)
class ParetoPoint:
    """The objectives of one finished trial; `second` is above 0, and smaller is better."""

    number: int
    value: float
    second: float
    front: bool
    tooltip: str


def pareto(pairs: Sequence[ParetoPoint], *, objective: str, second: str) -> Markup:
    """Draws the trials, `second` on a logarithmic axis, and the front as a step line."""
    ends = svg.padded_range([one.value for one in pairs])
    seconds = [one.second for one in pairs]
    x = svg.AxisScale(
        min(seconds) / 1.15, max(seconds) * 1.15, LEFT + 8, svg.CHART_WIDTH - 12, log=True
    )
    y = svg.AxisScale(*ends, TOP + TALL, TOP)
    marks = []
    for at in svg.ticks(*ends):
        marks.append(svg.line(LEFT, y(at), svg.CHART_WIDTH, y(at)))
        marks.append(svg.text(LEFT - 8, y(at), f"{at:.2f}", anchor="end", fill=svg.MUTED))
    for at in _powers(x.low, x.high):
        marks.append(svg.line(x(at), TOP, x(at), TOP + TALL))
        marks.append(
            svg.text(x(at), TOP + TALL + 14, f"{at:,.12g}", anchor="middle", fill=svg.MUTED)
        )
    front = sorted((one for one in pairs if one.front), key=lambda one: one.second)
    steps: list[tuple[float, float]] = []
    for one in front:
        if steps:
            steps.append((x(one.second), steps[-1][1]))
        steps.append((x(one.second), y(one.value)))
    if steps:
        marks.append(svg.polyline(steps, stroke=svg.ORANGE, stroke_width=1.8))
    marks += [
        _mark(one, x(one.second), y(one.value)) for one in sorted(pairs, key=lambda p: p.front)
    ]
    marks.append(svg.text(LEFT, 12, f"↑ {objective}", fill=svg.MUTED))
    marks.append(
        svg.text(svg.CHART_WIDTH, TOP + TALL + 36, f"{second} (logarithmic); less is better",
                 anchor="end", fill=svg.MUTED)
    )  # fmt: skip
    texts = "; ".join(f"trial {p.number}: {p.value:.3f} at {p.second:,.4g}" for p in front)
    return svg.chart(
        "pareto",
        *marks,
        title=f"Pareto front of {objective} and {second}",
        desc=f"On the front: {texts}.",
        height=TOP + TALL + 48,
    )


def _mark(one: ParetoPoint, x: float, y: float) -> Markup:
    if not one.front:
        return svg.element("circle", svg.tooltip(one.tooltip), cx=x, cy=y, r=4, fill=svg.BLUE,
                           fill_opacity="0.5")  # fmt: skip
    at = f"{x:.1f},{y - 7:.1f} {x + 7:.1f},{y:.1f} {x:.1f},{y + 7:.1f} {x - 7:.1f},{y:.1f}"
    return svg.element("polygon", svg.tooltip(one.tooltip), points=at, fill=svg.ORANGE)


def _powers(low: float, high: float) -> list[float]:
    """Ticks 1, 2, 5 times powers of ten between two positive numbers; if many, powers only."""
    found = [m * 10.0**p for p in range(-9, 16) for m in (1, 2, 5) if low <= m * 10.0**p <= high]
    return found if len(found) <= 8 else [v for v in found if f"{v:e}".startswith("1.0")]
