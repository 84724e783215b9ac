"""Reliability diagram: accuracy by confidence, before and after calibration.

Where tracks have several labels, each label of each track counts: the share of labels that are
present, by their probability.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chorale.search.report.charts.chart import Chart, Table
from chorale.search.report.charts.style import (
    BLUE,
    MUTED,
    PAPER,
    category,
    quantity,
    tooltip,
    vega_lite,
)

SIDE, BARS = 300, 56
PANELS = {"columns": 2, "least": 350, "most": SIDE, "inset": 0, "gap": 70}
"""How `draw.js` fits panels into the page, in pixels."""


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

    def rows(self) -> list[dict[str, Any]]:
        """Each bin, with the share of the tracks that are in it."""
        n = sum(one.n for one in self.before) or 1
        return [
            {
                "when": when,
                "confidence": one.confidence,
                "accuracy": one.accuracy,
                "n": one.n,
                "share": round(one.n / n, 4),
            }
            for when, bins in (("before", self.before), ("after", self.after))
            for one in bins
        ]


@dataclass(frozen=True)
class _Words:
    """What the axes and tooltips name."""

    confidence: str = "confidence"
    accuracy: str = "accuracy"
    unit: str = "tracks"

    def describe(self, one: ReliabilityBin) -> str:
        return f"{self.confidence} {one.confidence:.0%}, {self.accuracy} {one.accuracy:.0%}"


LABEL_WORDS = _Words("probability", "labels present", "decisions")


def reliability(panels: Sequence[ReliabilityPanel], *, multi_label: bool = False) -> Chart:
    """Draws one square per panel; on its diagonal, confidence equals accuracy.

    A larger point stands for more tracks; the bars below count tracks. Where `multi_label`, they
    stand for decisions: one for each label of each track.

    Source: DeGroot and Fienberg 1983, "The Comparison and Evaluation of Forecasters",
    doi:10.2307/2987588; as in Guo et al. 2017, arXiv:1706.04599.
    """
    words = LABEL_WORDS if multi_label else _Words()
    texts = [f"{panel.name}: {', '.join(map(words.describe, panel.after))}" for panel in panels]
    return Chart(
        "reliability",
        "Reliability diagram, before and after temperature scaling",
        "; ".join(texts) + ".",
        vega_lite(
            usermeta={"panels": PANELS},
            columns=PANELS["columns"],
            concat=[_panel(panel, words) for panel in panels],
        ),
        Table(
            ["tracks", "when", words.confidence, words.accuracy, words.unit],
            [
                [panel.name, row["when"], f"{row['confidence']:.1%}", f"{row['accuracy']:.1%}",
                 row["n"]]
                for panel in panels
                for row in panel.rows()
            ],
        ),
        min_width=360,
    )  # fmt: skip


def _panel(panel: ReliabilityPanel, words: _Words) -> dict[str, Any]:
    quarters: dict[str, Any] = {"ends": (0, 1), "format": ".0%", "values": [0, 0.25, 0.5, 0.75, 1]}
    x, y = quantity("confidence", **quarters), quantity("accuracy", words.accuracy, **quarters)
    shares = ("confidence", words.confidence, ".1%"), ("accuracy", words.accuracy, ".1%")
    shown = tooltip("when", *shares, ("n", words.unit))
    stroke = category("when", {"before": MUTED, "after": BLUE}, legend=None)
    dashes = category("when", {"before": [3, 3], "after": [1, 0]}, legend=None)
    size = {"type": "quantitative", "scale": {"domain": [0, 1], "range": [30, 600]}, "legend": None}
    diagonal = [{"confidence": 0, "accuracy": 0}, {"confidence": 1, "accuracy": 1}]
    square = {
        "width": SIDE,
        "height": SIDE,
        "title": panel.name,
        "encoding": {"x": x, "y": y},
        "layer": [
            {
                "data": {"values": diagonal},
                "mark": {"type": "line", "color": MUTED, "strokeDash": [4, 4], "strokeWidth": 1},
            },
            {
                "mark": {"type": "line", "strokeWidth": 1.5},
                "encoding": {"color": stroke, "strokeDash": dashes},
            },
            {
                "mark": {"type": "point", "opacity": 0.8},
                "encoding": {
                    "fill": category("when", {"before": PAPER, "after": BLUE}),
                    "stroke": category("when", {"before": MUTED, "after": BLUE}),
                    "size": {"field": "share", **size},
                    "tooltip": shown,
                },
            },
        ],
    }
    counts = {
        "width": SIDE,
        "height": BARS,
        "transform": [{"filter": "datum.when === 'after'"}],
        "mark": {"type": "bar", "width": 12, "color": BLUE, "opacity": 0.45},
        "encoding": {
            "x": {**x, "title": words.confidence},
            "y": quantity("n", words.unit, tickCount=2, grid=False),
            "tooltip": shown,
        },
    }
    return {"data": {"values": panel.rows()}, "vconcat": [square, counts]}
