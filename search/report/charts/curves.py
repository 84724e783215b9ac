"""Learning curves: one panel per architecture with all its trials, including pruned ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chorale.search.report.charts.chart import Chart, Table
from chorale.search.report.charts.style import (
    BLUE,
    CROSS,
    MUTED,
    ORANGE,
    PURPLE,
    category,
    padded_range,
    quantity,
    vega_lite,
    zoom,
)
from chorale.search.report.charts.trial import TrialMark, trial_tooltip

PANELS = {"columns": 3, "least": 270, "most": 420, "inset": 70, "gap": 24}
"""How `draw.js` fits panels into the page, in pixels."""

HEIGHT = 150
MAX_CURVES = 60
"""Curves that a panel draws, best first; more would be unreadable, and slow."""

MAX_POINTS = 12
"""Epochs of a curve that can be pointed at, and the last one."""

COLOURS = {"best": ORANGE, "done": BLUE, "pruned": MUTED, "failed": PURPLE}
DASHES = {"best": [1, 0], "done": [1, 0], "pruned": [1, 0], "failed": [4, 2]}


@dataclass(frozen=True)
class Curve:
    """The objective of a trial after each epoch, as (epoch, value) in order."""

    trial: TrialMark
    points: Sequence[tuple[int, float]]
    best: bool = False

    @property
    def top(self) -> float:
        """Its best value."""
        return max(value for _, value in self.points)

    def row(self) -> dict[str, Any]:
        """Its fields in the chart's data, with the points as two lists."""
        return {
            **self.trial.row(),
            "line": "best" if self.best else self.trial.label,
            "epoch": [epoch for epoch, _ in self.points],
            "at": [round(value, 5) for _, value in self.points],
            "last": self.points[-1][0],
        }


def curves(panels: Mapping[str, Sequence[Curve]], *, objective: str) -> Chart:
    """Draws a panel per architecture, on the same axes; a cross ends a pruned or failed trial."""
    every = [curve for panel in panels.values() for curve in panel]
    rows, names = [], []
    for name, panel in panels.items():
        counted = "1 trial" if len(panel) == 1 else f"{len(panel)} trials"
        counted += f", the best {MAX_CURVES}" if len(panel) > MAX_CURVES else ""
        names.append(f"{name} ({counted})")
        drawn = sorted(panel, key=lambda c: -c.top)[:MAX_CURVES]
        drawn.sort(key=lambda c: (c.best, c.trial.state == "COMPLETE"))  # the last is in front
        rows += [{**curve.row(), "panel": names[-1]} for curve in drawn]
    ends = padded_range([value for curve in every for _, value in curve.points])
    last = max(curve.points[-1][0] for curve in every)
    n_pruned = sum(curve.trial.state == "PRUNED" for curve in every)
    return Chart(
        "curves",
        f"Learning curves ({objective} on validation tracks, by epoch)",
        f"{len(every)} trials of {len(panels)} architectures; {n_pruned} were pruned.",
        vega_lite(
            usermeta={"panels": PANELS},
            data={"values": rows},
            transform=[{"flatten": ["epoch", "at"]}],
            columns=PANELS["columns"],
            facet={"field": "panel", "type": "nominal", "sort": names, "title": None},
            spec=_panel(objective, ends, last),
        ),
        Table(
            ["trial", "architecture", "state", "epochs", f"best {objective}", f"last {objective}"],
            [
                [
                    curve.trial.number,
                    name,
                    curve.trial.label,
                    curve.points[-1][0],
                    f"{curve.top:.3f}",
                    f"{curve.points[-1][1]:.3f}",
                ]
                for name, panel in panels.items()
                for curve in sorted(panel, key=lambda c: -c.top)
            ],
        ),
        min_width=320,
    )


def _panel(objective: str, ends: Sequence[float], last: int) -> dict[str, Any]:
    select = {"type": "point", "on": "pointerover", "clear": "pointerout", "fields": ["trial"]}
    hover = {"name": "hover", "select": {**select, "nearest": True}}
    pointed = {"param": "hover", "empty": False}
    best = "datum.line === 'best'"
    color = category("line", COLOURS, legend={"symbolType": "stroke"})
    dashes = category("line", DASHES, legend={"symbolType": "stroke"})
    point = {"type": "point", "size": 30, "clip": True}
    shape = {"condition": {"test": "datum.state === 'done'", "value": "circle"}, "value": CROSS}
    step = -(-last // MAX_POINTS)
    epochs = quantity("epoch", "epoch", ends=(1, max(last, 2)), tickMinStep=1, tickCount=5)
    return {
        "width": 250,
        "height": HEIGHT,
        "encoding": {
            "x": epochs,
            "y": quantity("at", objective, ends=ends, tickCount=4),
            "detail": {"field": "trial"},
        },
        "layer": [
            {
                "params": [zoom("x", "y")],
                "mark": {"type": "line", "clip": True},
                "encoding": {
                    "color": color,
                    "strokeDash": dashes,
                    "opacity": {"condition": {"test": best, "value": 1}, "value": 0.6},
                    "strokeWidth": {
                        "condition": [{**pointed, "value": 3.4}, {"test": best, "value": 2.4}],
                        "value": 1.3,
                    },
                },
            },
            {
                "transform": [
                    {"filter": "datum.epoch === datum.last"},
                    {"filter": "datum.state !== 'done' || datum.last === 1"},
                ],
                "mark": {**point, "opacity": 0.9},
                "encoding": {"color": color, "shape": shape},
            },
            {
                "params": [hover],
                "transform": [{"filter": f"!(datum.epoch % {step}) || datum.epoch === datum.last"}],
                "mark": {**point, "filled": True},
                "encoding": {
                    "color": color,
                    "opacity": {"condition": {**pointed, "value": 1}, "value": 0},
                    "tooltip": trial_tooltip(
                        objective, ("epoch", "epoch", "d"), ("at", "at this epoch", ".3f")
                    ),
                },
            },
        ],
    }
