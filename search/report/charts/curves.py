"""Learning curves: a small panel for each architecture, with all its trials, pruned ones too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from chorale.search.report.charts import svg

COLUMNS, TALL, GAP, LEFT = 3, 136, 28, 44
MOST = 120
"""So many curves a panel are drawn, the best ones; more would be a blot."""


@dataclass(frozen=True)
class Curve:
    """The objective of a trial after each epoch: (epoch, value) in order."""

    number: int
    state: str
    points: Sequence[tuple[int, float]]
    best: bool = False


def curves(panels: Mapping[str, Sequence[Curve]], *, objective: str) -> Markup:
    """Draws a panel for each architecture; a cross ends a curve that was pruned or failed.

    All panels share their axes, so that they can be compared.
    """
    points = [p for panel in panels.values() for curve in panel for p in curve.points]
    ends = svg.around([value for _, value in points])
    last = max(epoch for epoch, _ in points)
    wide = (svg.WIDTH - LEFT - (COLUMNS - 1) * GAP) / COLUMNS
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
    x = svg.Scale(1, max(last, 2), left + 4, left + wide - 4)
    y = svg.Scale(*ends, top + TALL, top)
    marks = [svg.text(left, top - 13, svg.shortened(name), font_weight="600")]
    n_drawn = min(len(panel), MOST)
    counted = "1 trial" if len(panel) == 1 else f"{len(panel)} trials"
    counted += f" (the best {MOST})" if len(panel) > MOST else ""
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


def _curve(curve: Curve, x: svg.Scale, y: svg.Scale) -> Markup:
    done = curve.state == "COMPLETE"
    colour = svg.ORANGE if curve.best else svg.BLUE if done else svg.MUTED
    at = [(x(epoch), y(value)) for epoch, value in curve.points]
    top = max(value for _, value in curve.points)
    words = {"COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed"}[curve.state]
    said = f"trial {curve.number}: {words} after {curve.points[-1][0]} epochs, best {top:.3f}"
    style = {
        "stroke": colour,
        "stroke_width": 2.4 if curve.best else 1.4 if done else 1,
        "stroke_opacity": "1" if curve.best else "0.7" if done else "0.55",
    }
    marks = [svg.tip(said), svg.polyline(at, **style)]
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
