"""Learning curves: one panel per architecture with all its trials, including pruned ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from chorale.search.report.charts import svg

COLUMNS, TALL, GAP, LEFT = 3, 136, 28, 44
MAX_CURVES = 120
"""Curves that a panel draws, best first; more would be unreadable."""


@dataclass(frozen=True)
class Curve:
    """The objective of a trial after each epoch, as (epoch, value) in order."""

    number: int
    state: str
    points: Sequence[tuple[int, float]]
    best: bool = False


def curves(panels: Mapping[str, Sequence[Curve]], *, objective: str) -> Markup:
    """Draws a panel per architecture, on the same axes; a cross ends a pruned or failed trial."""
    points = [p for panel in panels.values() for curve in panel for p in curve.points]
    ends = svg.padded_range([value for _, value in points])
    last = max(epoch for epoch, _ in points)
    wide = (svg.CHART_WIDTH - LEFT - (COLUMNS - 1) * GAP) / COLUMNS
    marks = [
        _panel(name, panel, i, wide=wide, ends=ends, last=last)
        for i, (name, panel) in enumerate(panels.items())
    ]
    n_rows = -(-len(panels) // COLUMNS)
    n_stopped = sum(c.state == "PRUNED" for panel in panels.values() for c in panel)
    n = sum(map(len, panels.values()))
    return svg.chart(
        "curves",
        *marks,
        title=f"Learning curves ({objective} on validation tracks, by epoch)",
        desc=f"{n} trials of {len(panels)} architectures; {n_stopped} were pruned.",
        height=n_rows * (TALL + 58),
    )


def _panel(
    name: str,
    panel: Sequence[Curve],
    i: int,
    *,
    wide: float,
    ends: tuple[float, float],
    last: int,
) -> Markup:
    left = LEFT + (i % COLUMNS) * (wide + GAP)
    top = 26 + (i // COLUMNS) * (TALL + 58)
    x = svg.AxisScale(1, max(last, 2), left + 4, left + wide - 4)
    y = svg.AxisScale(*ends, top + TALL, top)
    marks = [svg.text(left, top - 13, svg.shortened(name), font_weight="600")]
    n_drawn = min(len(panel), MAX_CURVES)
    counted = "1 trial" if len(panel) == 1 else f"{len(panel)} trials"
    counted += f" (the best {MAX_CURVES})" if len(panel) > MAX_CURVES else ""
    marks.append(
        svg.text(left + wide, top - 13, counted,
                 anchor="end", fill=svg.MUTED, font_size=11)
    )  # fmt: skip
    for at in svg.ticks(*ends, 4):
        marks.append(svg.line(left, y(at), left + wide, y(at)))
        if i % COLUMNS == 0:
            marks.append(
                svg.text(left - 6, y(at), f"{at:.2f}", anchor="end", fill=svg.MUTED, font_size=11)
            )
    for at, anchor in ((1, "start"), (last, "end")):
        marks.append(
            svg.text(x(at), top + TALL + 12, at, anchor=anchor, fill=svg.MUTED, font_size=11)
        )
    ranked = sorted(panel, key=lambda c: -max(value for _, value in c.points))[:n_drawn]
    order = sorted(ranked, key=lambda c: (c.best, c.state == "COMPLETE"))
    return svg.group(*marks, *(_curve(curve, x, y) for curve in order))


def _curve(curve: Curve, x: svg.AxisScale, y: svg.AxisScale) -> Markup:
    done = curve.state == "COMPLETE"
    colour = svg.ORANGE if curve.best else svg.BLUE if done else svg.MUTED
    at = [(x(epoch), y(value)) for epoch, value in curve.points]
    top = max(value for _, value in curve.points)
    state = {"COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed"}[curve.state]
    text = f"trial {curve.number}: {state} after {curve.points[-1][0]} epochs, best {top:.3f}"
    style = {
        "stroke": colour,
        "stroke_width": 2.4 if curve.best else 1.4 if done else 1,
        "stroke_opacity": "1" if curve.best else "0.7" if done else "0.55",
    }
    marks = [svg.tooltip(text), svg.polyline(at, **style)]
    if not done:
        px, py = at[-1]
        marks.append(
            svg.element("path", d=f"M{px - 2.5:.1f} {py - 2.5:.1f}l5 5m0 -5l-5 5",
                        stroke=svg.PURPLE if curve.state == "FAIL" else svg.MUTED,
                        stroke_width=1.3)
        )  # fmt: skip
    elif len(at) == 1:
        marks.append(svg.element("circle", cx=at[0][0], cy=at[0][1], r=2.5, fill=colour))
    return svg.group(*marks)
