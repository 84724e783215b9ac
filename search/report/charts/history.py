"""Optimization history: the objective of each trial in order, and the best value so far."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from chorale.search.report.charts import svg

LEFT, TOP, TALL = 54, 34, 280
STATE_LABELS = {"COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed"}


@dataclass(frozen=True)
class HistoryPoint:
    """One trial: its objective (None if it failed), and whether it became a finalist."""

    number: int
    value: float | None
    state: str
    tooltip: str
    finalist: bool = False


def history(trials: Sequence[HistoryPoint], *, objective: str) -> Markup:
    """Draws one mark per trial in the order of their numbers, failed ones below the axis."""
    ordered = sorted(trials, key=lambda one: one.number)
    values = [one.value for one in ordered if one.value is not None] or [0.0, 1.0]
    ends = svg.padded_range(values)
    n = ordered[-1].number if ordered else 1
    x = svg.AxisScale(0, max(n, 1), LEFT + 12, svg.CHART_WIDTH - 14)
    y = svg.AxisScale(*ends, TOP + TALL, TOP)
    marks = []
    for at in svg.ticks(*ends):
        marks.append(svg.line(LEFT, y(at), svg.CHART_WIDTH, y(at)))
        marks.append(svg.text(LEFT - 8, y(at), f"{at:.2f}", anchor="end", fill=svg.MUTED))
    for tick in {round(at) for at in svg.ticks(0, n, 8)}:
        marks.append(svg.text(x(tick), TOP + TALL + 32, tick, anchor="middle", fill=svg.MUTED))
    marks.append(
        svg.text(svg.CHART_WIDTH / 2, TOP + TALL + 52, "trial", anchor="middle", fill=svg.MUTED)
    )
    steps: list[tuple[float, float]] = []
    best = None
    for one in ordered:
        if one.state == "COMPLETE" and one.value is not None and (best is None or one.value > best):
            steps += [] if best is None else [(x(one.number), y(best))]
            best = one.value
            steps.append((x(one.number), y(best)))
    if best is not None:
        steps.append((x(n), y(best)))
        marks.append(svg.polyline(steps, stroke=svg.ORANGE, stroke_width=1.8))
    small = len(ordered) > 150
    marks += [_mark(one, x(one.number), y, small=small) for one in ordered]
    marks.append(_legend())
    counts = {word: sum(t.state == state for t in ordered) for state, word in STATE_LABELS.items()}
    ended = ", ".join(f"{count} {word}" for word, count in counts.items())
    return svg.chart(
        "history",
        *marks,
        title=f"Optimization history ({objective} on validation tracks)",
        desc=f"{len(ordered)} trials: {ended}. "
        + ("None finished." if best is None else f"Best value {best:.3f}."),
        height=TOP + TALL + 62,
    )


def _mark(one: HistoryPoint, x: float, y: svg.AxisScale, *, small: bool) -> Markup:
    if one.value is None or one.state == "FAIL":
        return _cross(x, TOP + TALL + 12, one.tooltip)
    at, r = y(one.value), 3.0 if small else 4.5
    if one.state == "PRUNED":
        return svg.element(
            "circle", svg.tooltip(one.tooltip), cx=x, cy=at, r=r - 1, fill=svg.PAPER,
            stroke=svg.MUTED, stroke_width=1.3,
        )  # fmt: skip
    point = svg.element("circle", svg.tooltip(one.tooltip), cx=x, cy=at, r=r, fill=svg.BLUE)
    if not one.finalist:
        return point
    ring = svg.element("circle", cx=x, cy=at, r=r + 3.5, fill="none", stroke=svg.ORANGE,
                       stroke_width=1.6)  # fmt: skip
    return svg.group(ring, point)


def _cross(x: float, y: float, tooltip: str) -> Markup:
    path = f"M{x - 3.5:.1f} {y - 3.5:.1f}l7 7m0 -7l-7 7"
    return svg.element("path", svg.tooltip(tooltip), d=path, stroke=svg.PURPLE, stroke_width=2)


def _legend() -> Markup:
    y = 12
    ring = {"fill": "none", "stroke": svg.ORANGE, "stroke_width": 1.6}
    marks = [
        svg.element("circle", cx=LEFT + 6, cy=y, r=4.5, fill=svg.BLUE),
        svg.element("circle", cx=LEFT + 74, cy=y, r=4.5, fill=svg.BLUE),
        svg.element("circle", cx=LEFT + 74, cy=y, r=8.0, **ring),
        svg.element("circle", cx=LEFT + 160, cy=y, r=3.5, fill=svg.PAPER, stroke=svg.MUTED,
                    stroke_width=1.3),
        _cross(LEFT + 238, y, "failed"),
        svg.line(LEFT + 306, y, LEFT + 330, y, stroke=svg.ORANGE, stroke_width=1.8),
    ]  # fmt: skip
    words = (("done", 16), ("finalist", 88), ("pruned", 170), ("failed", 248), ("best so far", 338))
    marks += [svg.text(LEFT + at, y, word, fill=svg.MUTED, font_size=11) for word, at in words]
    return svg.group(*marks)
