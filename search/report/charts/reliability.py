"""Reliability diagram: accuracy by confidence, before and after calibration.

Where tracks have several labels, each label of each track counts: the share of labels that are
present, by their probability.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from chorale.search.report.charts import svg

SIDE, TOP, LEFT, GAP, BARS = 350, 34, 52, 92, 52


@dataclass(frozen=True)
class ReliabilityBin:
    """Tracks of similar confidence: mean confidence, accuracy, and their number.

    Where multi-label: decisions of similar probability, the share of present labels, their number.
    """

    confidence: float
    accuracy: float
    n: int


@dataclass(frozen=True)
class ReliabilityPanel:
    """Bins of the same tracks before and after calibration."""

    name: str
    before: Sequence[ReliabilityBin]
    after: Sequence[ReliabilityBin]


@dataclass(frozen=True)
class _Words:
    """What the axes and tooltips name."""

    confidence: str = "confidence"
    accuracy: str = "accuracy"
    unit: str = "tracks"

    def describe(self, one: ReliabilityBin) -> str:
        return f"{self.confidence} {one.confidence:.0%}, {self.accuracy} {one.accuracy:.0%}"


LABEL_WORDS = _Words("probability", "labels present", "decisions")


def reliability(panels: Sequence[ReliabilityPanel], *, multi_label: bool = False) -> Markup:
    """Draws one square per panel; on its diagonal, confidence equals accuracy.

    A larger point stands for more tracks; the bars below count tracks. Where `multi_label`, they
    stand for decisions: one for each label of each track.

    Source: DeGroot and Fienberg 1983, "The Comparison and Evaluation of Forecasters",
    doi:10.2307/2987588; as in Guo et al. 2017, arXiv:1706.04599.
    """
    words = LABEL_WORDS if multi_label else _Words()
    marks = [_legend(words)]
    for i, panel in enumerate(panels):
        marks.append(_panel(panel, LEFT + i * (SIDE + GAP), words))
    texts = [f"{panel.name}: {', '.join(map(words.describe, panel.after))}" for panel in panels]
    return svg.chart(
        "reliability",
        *marks,
        title="Reliability diagram, before and after temperature scaling",
        desc="; ".join(texts) + ".",
        height=TOP + SIDE + BARS + 62,
        width=LEFT + len(panels) * (SIDE + GAP) - GAP + 16,
    )


def _panel(panel: ReliabilityPanel, left: float, words: _Words) -> Markup:
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
            text = f"{words.describe(one)}, {one.n} {words.unit}"
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
    marks.append(_counts(panel.after, x, words))
    return svg.group(*marks)


def _counts(bins: Sequence[ReliabilityBin], x: svg.AxisScale, words: _Words) -> Markup:
    top = TOP + SIDE + 34
    tallest = max((one.n for one in bins), default=1)
    marks = [svg.line(x(0), top + BARS, x(1), top + BARS)]
    for one in bins:
        tall = BARS * one.n / tallest
        marks.append(
            svg.element(
                "rect",
                svg.tooltip(f"{one.n} {words.unit}"),
                x=x(one.confidence) - 6,
                y=top + BARS - tall,
                width=12,
                height=tall,
                fill=svg.BLUE,
                fill_opacity="0.45",
            )
        )
    middle = (x(0) + x(1)) / 2
    text = f"{words.confidence}; bars: number of {words.unit}"
    marks.append(
        svg.text(middle, top + BARS + 14, text, anchor="middle",
                 fill=svg.MUTED, font_size=11)
    )  # fmt: skip
    return svg.group(*marks)


def _legend(words: _Words) -> Markup:
    return svg.group(
        svg.element("circle", cx=LEFT + 5, cy=12, r=5, fill=svg.PAPER, stroke=svg.MUTED,
                    stroke_width=1.5),
        svg.text(LEFT + 16, 12, "before", fill=svg.MUTED, font_size=11),
        svg.element("circle", cx=LEFT + 75, cy=12, r=5, fill=svg.BLUE),
        svg.text(LEFT + 86, 12, "after", fill=svg.MUTED, font_size=11),
        svg.text(LEFT + 128, 12, f"vertical axis: {words.accuracy}", fill=svg.MUTED, font_size=11),
    )  # fmt: skip
