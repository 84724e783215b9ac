"""Reliability diagram: accuracy by confidence, before and after calibration."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from chorale.search.report.charts import svg

SIDE, TOP, LEFT, GAP, BARS = 350, 34, 52, 92, 52


@dataclass(frozen=True)
class ReliabilityBin:
    """Tracks of similar confidence: mean confidence, accuracy, and their number."""

    confidence: float
    accuracy: float
    n: int


@dataclass(frozen=True)
class ReliabilityPanel:
    """Bins of the same tracks before and after calibration."""

    name: str
    before: Sequence[ReliabilityBin]
    after: Sequence[ReliabilityBin]


def reliability(panels: Sequence[ReliabilityPanel]) -> Markup:
    """Draws one square per panel; on its diagonal, confidence equals accuracy.

    A larger point stands for more tracks; the bars below count tracks.

    Source: DeGroot and Fienberg 1983, "The Comparison and Evaluation of Forecasters",
    doi:10.2307/2987588; as in Guo et al. 2017, arXiv:1706.04599.
    """
    marks = [_legend()]
    for i, panel in enumerate(panels):
        marks.append(_panel(panel, LEFT + i * (SIDE + GAP)))
    texts = [f"{panel.name}: {', '.join(map(_describe, panel.after))}" for panel in panels]
    return svg.chart(
        "reliability",
        *marks,
        title="Reliability diagram, before and after temperature scaling",
        desc="; ".join(texts) + ".",
        height=TOP + SIDE + BARS + 62,
        width=LEFT + len(panels) * (SIDE + GAP) - GAP + 16,
    )


def _describe(one: ReliabilityBin) -> str:
    return f"confidence {one.confidence:.0%}, accuracy {one.accuracy:.0%}"


def _panel(panel: ReliabilityPanel, left: float) -> Markup:
    x = svg.AxisScale(0, 1, left, left + SIDE)
    y = svg.AxisScale(0, 1, TOP + 20 + SIDE, TOP + 20)
    marks = []
    for at in (0, 0.25, 0.5, 0.75, 1):
        marks += [svg.line(x(at), y(0), x(at), y(1)), svg.line(x(0), y(at), x(1), y(at))]
        marks.append(
            svg.text(
                left - 8, y(at), svg.compact_percent(at), anchor="end", fill=svg.MUTED, font_size=11
            )
        )
    marks.append(svg.line(x(0), y(0), x(1), y(1), stroke=svg.MUTED, stroke_dasharray="4 4"))
    marks.append(svg.text(left + SIDE / 2, TOP + 6, panel.name, anchor="middle", font_weight="600"))
    n = sum(one.n for one in panel.before) or 1
    for bins, colour, is_after in ((panel.before, svg.MUTED, False), (panel.after, svg.BLUE, True)):
        places = [(x(one.confidence), y(one.accuracy)) for one in bins]
        dash = None if is_after else "3 3"
        marks.append(svg.polyline(places, stroke=colour, stroke_width=1.5, stroke_dasharray=dash))
        for one, (px, py) in zip(bins, places, strict=True):
            text = f"{_describe(one)}, {one.n} tracks"
            marks.append(
                svg.element(
                    "circle",
                    svg.tooltip(text),
                    cx=px,
                    cy=py,
                    r=3.0 + 7 * (one.n / n) ** 0.5,
                    fill=colour if is_after else svg.PAPER,
                    stroke=colour,
                    stroke_width=1.5,
                    fill_opacity="0.75",
                )
            )
    marks.append(_counts(panel.after, x))
    return svg.group(*marks)


def _counts(bins: Sequence[ReliabilityBin], x: svg.AxisScale) -> Markup:
    top = TOP + SIDE + 34
    tallest = max((one.n for one in bins), default=1)
    marks = [svg.line(x(0), top + BARS, x(1), top + BARS)]
    for one in bins:
        tall = BARS * one.n / tallest
        marks.append(
            svg.element(
                "rect",
                svg.tooltip(f"{one.n} tracks"),
                x=x(one.confidence) - 6,
                y=top + BARS - tall,
                width=12,
                height=tall,
                fill=svg.BLUE,
                fill_opacity="0.45",
            )
        )
    middle = (x(0) + x(1)) / 2
    marks.append(
        svg.text(middle, top + BARS + 14, "confidence; bars: number of tracks", anchor="middle",
                 fill=svg.MUTED, font_size=11)
    )  # fmt: skip
    return svg.group(*marks)


def _legend() -> Markup:
    return svg.group(
        svg.element("circle", cx=LEFT + 5, cy=12, r=5, fill=svg.PAPER, stroke=svg.MUTED,
                    stroke_width=1.5),
        svg.text(LEFT + 16, 12, "before", fill=svg.MUTED, font_size=11),
        svg.element("circle", cx=LEFT + 75, cy=12, r=5, fill=svg.BLUE),
        svg.text(LEFT + 86, 12, "after", fill=svg.MUTED, font_size=11),
        svg.text(LEFT + 128, 12, "vertical axis: accuracy", fill=svg.MUTED, font_size=11),
    )  # fmt: skip
