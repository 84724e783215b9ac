"""Forest plot: test accuracy (or mAP) of each ensemble and baseline with its 95 % interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from chorale.search.report.charts import svg

ROW, TOP = 27, 34
KIND_COLOURS = {
    "chosen": svg.ORANGE,
    "ensemble": svg.BLUE,
    "single": svg.GREEN,
    "baseline": svg.MUTED,
}


@dataclass(frozen=True)
class Estimate:
    """An accuracy or mAP (0 to 1) with its interval; `gain` is written at the end of the line."""

    name: str
    value: float
    low: float
    high: float
    kind: Literal["chosen", "ensemble", "single", "baseline"]
    gain: str = ""


def forest(
    rows: Sequence[Estimate],
    *,
    metric: str = "accuracy",
    title: str | None = None,
) -> Markup:
    """Draws the rows in the given order, with a gap before the first baseline.

    `metric` is the score's name, "accuracy" or "mAP".

    Source: Lewis and Clarke 2001, "Forest plots: trying to see the wood and the trees",
    doi:10.1136/bmj.322.7300.1479.
    """
    names = [svg.shortened(row.name) for row in rows]
    left = svg.text_width(names) + 22
    has_gains = any(row.gain for row in rows)
    room = max(svg.text_width([row.gain for row in rows]), 110) + 12
    right = svg.CHART_WIDTH - 175 - (room if has_gains else 0)
    ends = svg.padded_range([end for row in rows for end in (row.low, row.high)])
    x = svg.AxisScale(*ends, left, right)
    heights = _heights(rows)
    bottom = heights[-1] + ROW * 0.7
    marks = [svg.line(x(at), TOP - 8, x(at), bottom) for at in svg.ticks(*ends)]
    marks += [
        svg.text(x(at), bottom + 13, label, anchor="middle", fill=svg.MUTED)
        for at, label in zip(svg.ticks(*ends), svg.tick_percents(svg.ticks(*ends)), strict=True)
    ]
    heads = [(metric, right + 16), ("95 % CI", right + 78)]
    heads += [("ensemble's gain", right + 178)] if has_gains else []
    marks += [svg.text(at, TOP - 20, head, fill=svg.MUTED, font_size=11) for head, at in heads]
    for row in rows:
        if row.kind == "chosen":
            band = {"stroke": svg.ORANGE, "stroke_dasharray": "2 3"}
            marks.append(svg.line(x(row.value), TOP - 8, x(row.value), bottom, **band))
    for row, name, y in zip(rows, names, heights, strict=True):
        marks.append(_row(row, name, y, x, left=left, right=right))
    best = max(rows, key=lambda row: row.value)
    values = [f"{row.name}: {row.value:.1%} ({row.low:.1%} to {row.high:.1%})" for row in rows]
    return svg.chart(
        "forest",
        *marks,
        title=title
        or f"Test {metric} of every ensemble and baseline, with 95 % confidence intervals",
        desc=f"Highest: {best.name}. " + "; ".join(values) + ".",
        height=bottom + 28,
    )


def _heights(rows: Sequence[Estimate]) -> list[float]:
    """The y coordinate of each row's middle, with a gap before the baselines."""
    heights: list[float] = []
    at = float(TOP + 6)
    for i, row in enumerate(rows):
        if i and row.kind == "baseline" and rows[i - 1].kind != "baseline":
            at += ROW * 0.5
        heights.append(at)
        at += ROW
    return heights


def _row(
    row: Estimate, name: str, y: float, x: svg.AxisScale, *, left: float, right: float
) -> Markup:
    colour = KIND_COLOURS[row.kind]
    weight = "700" if row.kind == "chosen" else None
    text = f"{row.name}: {row.value:.1%}, 95 % CI {row.low:.1%} to {row.high:.1%}"
    stroke = {"stroke": colour, "stroke_width": 2}
    marks = [
        svg.tooltip(text),
        svg.text(left - 14, y, name, anchor="end", font_weight=weight),
        svg.line(x(row.low), y, x(row.high), y, **stroke),
        svg.line(x(row.low), y - 4, x(row.low), y + 4, **stroke),
        svg.line(x(row.high), y - 4, x(row.high), y + 4, **stroke),
        _point(row, x(row.value), y, colour),
        svg.text(right + 16, y, svg.compact_percent(row.value, 1), font_weight=weight),
        svg.text(
            right + 78, y, f"{100 * row.low:.1f} \N{EN DASH} {100 * row.high:.1f}", fill=svg.MUTED
        ),
    ]
    if row.gain:
        marks.append(svg.text(right + 178, y, row.gain, fill=svg.MUTED))
    return svg.group(*marks)


def _point(row: Estimate, x: float, y: float, colour: str) -> Markup:
    if row.kind == "chosen":
        at = f"{x:.1f},{y - 7:.1f} {x + 7:.1f},{y:.1f} {x:.1f},{y + 7:.1f} {x - 7:.1f},{y:.1f}"
        return svg.element("polygon", points=at, fill=colour)
    if row.kind == "baseline":
        return svg.element(
            "rect", x=x - 4, y=y - 4, width=8, height=8, fill=svg.PAPER, stroke=colour,
            stroke_width=2,
        )  # fmt: skip
    return svg.element("circle", cx=x, cy=y, r=5, fill=colour)
