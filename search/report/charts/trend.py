"""Trend over nightly runs: the champion's test score with its CI, candidates, verdicts, cost."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from chorale.search.report.charts import svg

LEFT, RIGHT, TOP, TALL = 54, 14, 44, 250
COST_TOP, COST_TALL = TOP + TALL + 62, 46
MAX_DATES = 12
"""Dates that are written below the axis at most."""


@dataclass(frozen=True)
class NightMark:
    """One night: its date, its verdict, and accuracies or mAPs from 0 to 1.

    `champion` is that of the champion after the night with the ends of its interval,
    `candidate` that of the night's candidate; both None if not measured. `hours` is the
    night's wall time.
    """

    date: str
    verdict: str
    champion: tuple[float, float, float] | None
    candidate: float | None
    hours: float | None
    tooltip: str


def trend(nights: Sequence[NightMark], *, metric: str = "accuracy") -> Markup:
    """Draws the nights from left to right, oldest first; `metric` is the score's name."""
    ends = [end for n in nights if n.champion for end in n.champion]
    ends += [n.candidate for n in nights if n.candidate is not None]
    low, high = svg.padded_range(ends or [0.0, 1.0])
    x = svg.AxisScale(-0.5, max(len(nights) - 0.5, 0.5), LEFT, svg.CHART_WIDTH - RIGHT)
    y = svg.AxisScale(low, high, TOP + TALL, TOP)
    at = svg.ticks(low, high)
    marks: list[Markup] = []
    for tick, label in zip(at, svg.tick_percents(at), strict=True):
        marks.append(svg.line(LEFT, y(tick), svg.CHART_WIDTH - RIGHT, y(tick)))
        marks.append(svg.text(LEFT - 8, y(tick), label, anchor="end", fill=svg.MUTED))
    marks += _dates(nights, x)
    marks += _champion_line(nights, x, y)
    for i, night in enumerate(nights):
        marks.append(_night(night, x(i), y))
    marks += _costs(nights, x)
    marks.append(_legend())
    last = next((n for n in reversed(nights) if n.champion), None)
    verdicts = [n.verdict for n in nights]
    counts = ", ".join(f"{verdicts.count(one)} {one}" for one in dict.fromkeys(verdicts))
    now = (
        ""
        if last is None or last.champion is None
        else f" The champion's {metric} is {last.champion[0]:.1%}."
    )
    return svg.chart(
        "trend",
        *marks,
        title=f"The champion's test {metric} by night, with 95 % confidence intervals",
        desc=f"{len(nights)} nights: {counts}.{now}",
        height=COST_TOP + COST_TALL + 12,
    )


def _dates(nights: Sequence[NightMark], x: svg.AxisScale) -> list[Markup]:
    step = max(1, -(-len(nights) // MAX_DATES))
    return [
        svg.text(x(i), TOP + TALL + 34, night.date[5:], anchor="middle", fill=svg.MUTED)
        for i, night in enumerate(nights)
        if (len(nights) - 1 - i) % step == 0
    ]


def _champion_line(nights: Sequence[NightMark], x: svg.AxisScale, y: svg.AxisScale) -> list[Markup]:
    """The line of the champion's score, with a band for its interval."""
    known = [(i, n.champion) for i, n in enumerate(nights) if n.champion is not None]
    if not known:
        return []
    upper = [(x(i), y(c[2])) for i, c in known]
    lower = [(x(i), y(c[1])) for i, c in reversed(known)]
    band = " ".join(f"{px:.1f},{py:.1f}" for px, py in [*upper, *lower])
    return [
        svg.element("polygon", points=band, fill=svg.BLUE, opacity="0.12"),
        svg.polyline([(x(i), y(c[0])) for i, c in known], stroke=svg.BLUE, stroke_width=2.0),
    ]


def _night(night: NightMark, at: float, y: svg.AxisScale) -> Markup:
    marks = [svg.tooltip(night.tooltip)]
    if night.champion is not None:
        value, low, high = night.champion
        marks.append(svg.line(at, y(low), at, y(high), stroke=svg.BLUE, stroke_width=1.4))
        marks += [
            svg.line(at - 4, y(end), at + 4, y(end), stroke=svg.BLUE, stroke_width=1.4)
            for end in (low, high)
        ]
        marks.append(svg.element("circle", cx=at, cy=y(value), r=4.5, fill=svg.BLUE))
    if night.candidate is not None and night.verdict != "PROMOTED":
        marks.append(_ring(at + 9, y(night.candidate)))
    marks.append(_verdict_mark(night.verdict, at, float(TOP + TALL + 14)))
    return svg.group(*marks)


def _ring(x: float, y: float) -> Markup:
    return svg.element(
        "circle", cx=x, cy=y, r=3.5, fill=svg.PAPER, stroke=svg.MUTED, stroke_width=1.5
    )


def _verdict_mark(verdict: str, x: float, y: float) -> Markup:
    """A shape for each verdict."""
    if verdict == "PROMOTED":
        at = f"{x:.1f},{y - 7:.1f} {x + 7:.1f},{y:.1f} {x:.1f},{y + 7:.1f} {x - 7:.1f},{y:.1f}"
        return svg.element("polygon", points=at, fill=svg.ORANGE)
    if verdict == "KEPT":
        return svg.element("rect", x=x - 5, y=y - 5, width=10, height=10, fill=svg.GREEN)
    if verdict == "INCONCLUSIVE":
        return svg.text(x, y, "?", anchor="middle", fill=svg.INK, font_weight="700")
    if verdict == "MISSED":
        return svg.line(x - 5, y, x + 5, y, stroke=svg.MUTED, stroke_width=2)
    path = f"M{x - 5:.1f} {y - 5:.1f}l10 10m0 -10l-10 10"
    return svg.element("path", d=path, stroke=svg.PURPLE, stroke_width=2.4)


def _costs(nights: Sequence[NightMark], x: svg.AxisScale) -> list[Markup]:
    """One bar per night: its wall time."""
    bottom = COST_TOP + COST_TALL
    most = max([n.hours for n in nights if n.hours is not None], default=0.0)
    unit, times = ("h", 1.0) if most >= 1 else ("min", 60.0)
    marks = [
        svg.line(LEFT, bottom, svg.CHART_WIDTH - RIGHT, bottom),
        svg.text(LEFT - 8, COST_TOP + 8, f"{most * times:.3g}", anchor="end", fill=svg.MUTED),
        svg.text(LEFT - 8, bottom - 4, unit, anchor="end", fill=svg.MUTED),
    ]
    wide = min(26.0, 0.6 * (svg.CHART_WIDTH - LEFT - RIGHT) / max(len(nights), 1))
    for i, night in enumerate(nights):
        if night.hours is None or most <= 0:
            continue
        tall = COST_TALL * night.hours / most
        tooltip = svg.tooltip(f"{night.date}: {night.hours * times:.3g} {unit}")
        marks.append(
            svg.element(
                "rect",
                tooltip,
                x=x(i) - wide / 2,
                y=bottom - tall,
                width=wide,
                height=tall,
                fill=svg.MUTED,
                opacity="0.55",
            )
        )
    return marks


def _legend() -> Markup:
    y = 14.0
    names = (("PROMOTED", "promoted"), ("KEPT", "kept"), ("INCONCLUSIVE", "inconclusive"),
             ("REFUSED", "refused or failed"), ("MISSED", "missed"))  # fmt: skip
    marks = [
        svg.element("circle", cx=LEFT + 6, cy=y, r=4.5, fill=svg.BLUE),
        svg.text(LEFT + 16, y, "champion", fill=svg.MUTED, font_size=11),
        _ring(LEFT + 92.0, y),
        svg.text(LEFT + 102, y, "candidate", fill=svg.MUTED, font_size=11),
    ]
    at = LEFT + 186.0
    for verdict, label in names:
        marks.append(_verdict_mark(verdict, at, y))
        marks.append(svg.text(at + 12, y, label, fill=svg.MUTED, font_size=11))
        at += 44 + svg.text_width([label], size=11)
    return svg.group(*marks)
