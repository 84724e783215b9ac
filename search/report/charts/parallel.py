"""Parallel coordinates over a conditional search space: one line per trial, one axis per parameter.

The line of a trial without a parameter passes below its axis, on the lane "n/a". Dragging along an
axis keeps the trials that cross it there; several axes narrow the choice down together. It is
written in Vega, as Vega-Lite has no selection for each of several axes of one view.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from json import dumps
from typing import Any

from chorale.search.report.charts.chart import Chart
from chorale.search.report.charts.parallel_axis import LANE, AxisPlaces, Value
from chorale.search.report.charts.style import (
    CONFIG,
    INK,
    MUTED,
    ORANGE,
    SHADES,
    padded_range,
)
from chorale.search.report.charts.text import shortened
from chorale.search.report.charts.trial import TrialMark

HEIGHT = 290
AXIS_WIDTH = 92
"""Pixels that an axis needs."""

MANY_LINES = 120
"""From this number of trials on, lines are drawn paler."""

VEGA = "https://vega.github.io/schema/vega/v6.json"
"""Names the language of the specification; it is never loaded."""


@dataclass(frozen=True)
class TrialLine:
    """One trial with an objective, and its parameters by their keys."""

    trial: TrialMark
    params: Mapping[str, Value]


@dataclass(frozen=True)
class Axis:
    """A parameter: its key in `TrialLine.params`, its label, whether its scale is logarithmic."""

    name: str
    label: str
    log: bool = False


def parallel(
    lines: Sequence[TrialLine], axes: Sequence[Axis], *, key: str, objective: str
) -> Chart:
    """Draws the axes from left to right, the objective last.

    Source: Inselberg 1985, "The plane with parallel coordinates", doi:10.1007/BF01898350;
    brushes after Inselberg 1997, "Multidimensional detective", doi:10.1109/INFVIS.1997.636793.
    """
    ranked = sorted(lines, key=lambda one: one.trial.value or 0.0)
    places = [
        AxisPlaces([one.params.get(axis.name) for one in ranked], log=axis.log) for axis in axes
    ]
    ends = padded_range([one.trial.value or 0.0 for one in ranked])
    places.append(AxisPlaces.of_scores(ends))
    rows = []
    for rank, one in enumerate(ranked):
        crossed = [one.params.get(axis.name) for axis in axes]
        at = [
            place(value, one.trial.number)
            for place, value in zip(places, [*crossed, one.trial.value], strict=True)
        ]
        shade = SHADES[min(rank * len(SHADES) // len(ranked), len(SHADES) - 1)]
        rows.append({**one.trial.row(), "shade": shade, **{f"p{i}": y for i, y in enumerate(at)}})
    best = ranked[-1]
    params = ", ".join(f"{a.label} {best.params.get(a.name, 'n/a')}" for a in axes)
    labels = [*(axis.label for axis in axes), objective]
    return Chart(
        f"parallel-{key}",
        f"Parallel coordinates of {len(lines)} trials",
        f"The best is trial {best.trial.number} with {best.trial.value:.3f}: {params}. "
        "Every trial is in the leaderboard.",
        _vega(rows, labels, places, objective),
        min_width=AXIS_WIDTH * len(labels),
    )


def _vega(
    rows: Sequence[Mapping[str, Any]],
    labels: Sequence[str],
    places: Sequence[AxisPlaces],
    objective: str,
) -> dict[str, Any]:
    n = len(labels)
    heads = [
        {"axis": i, "label": shortened(label, 14), "name": label} for i, label in enumerate(labels)
    ]
    ticks = [
        {"axis": i, "at": at, "label": shortened(label, 13), "none": label == "n/a" and at < 0}
        for i, place in enumerate(places)
        for at, label in place.ticks
    ]
    own_width = "containerSize()[0] > 0 ? containerSize()[0] : 900"
    kept = " && ".join(f"(!set{i} || inrange(datum.p{i}, brush{i}))" for i in range(n))
    return {
        "$schema": VEGA,
        "config": CONFIG,
        "height": HEIGHT,
        "padding": 5,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "signals": [
            {"name": "width", "init": own_width,
             "on": [{"events": "window:resize", "update": own_width}]},
            *(signal for i in range(n) for signal in _brush(i)),
        ],
        "data": [
            {"name": "trials", "values": rows,
             "transform": [{"type": "formula", "as": "kept", "expr": kept}]},
            {"name": "kept", "source": "trials",
             "transform": [{"type": "filter", "expr": "datum.kept"}]},
            {"name": "heads", "values": heads},
            {"name": "ticks", "values": ticks},
        ],
        "scales": [
            {"name": "x", "type": "point", "domain": list(range(n)), "range": "width",
             "padding": 0.5},
            {"name": "y", "type": "linear", "domain": [LANE - 0.04, 1], "range": "height"},
        ],
        "marks": [
            _lines(n, objective, many=len(rows) >= MANY_LINES),
            _axis_rules(),
            *_texts(),
            *(mark for i in range(n) for mark in _handles(i)),
            _count(len(rows)),
        ],
    }  # fmt: skip


def _brush(i: int) -> list[dict[str, Any]]:
    """The part of an axis that is chosen, and whether there is one; a click chooses nothing."""
    name, here = f"brush{i}", f"invert('y', clamp(y(), 0, {HEIGHT}))"
    return [
        {
            "name": name,
            "value": [0, 0],
            "on": [
                {"events": f"@axis{i}:pointerdown", "update": f"[{here}, {here}]"},
                {
                    "events": f"[@axis{i}:pointerdown, window:pointerup] > window:pointermove!",
                    "update": f"[{name}[0], {here}]",
                },
                {"events": "view:dblclick", "update": "[0, 0]"},
            ],
        },
        {"name": f"set{i}", "update": f"abs({name}[1] - {name}[0]) > 0.01"},
    ]


def _lines(n: int, objective: str, *, many: bool) -> dict[str, Any]:
    points = [f"scale('x', {i}) + ',' + scale('y', datum.p{i})" for i in range(n)]
    shown = {
        "trial": "datum.trial",
        "state": "datum.state",
        objective: "format(datum.value, '.3f')",
        "architecture": "datum.architecture",
        "parameters": "datum.parameters",
    }
    tooltip = ", ".join(f"{dumps(name)}: {expr}" for name, expr in shown.items())
    usual = "datum.shade === " + dumps(SHADES[-1]) + " ? 0.75 : 0.42" if many else "0.75"
    return {
        "name": "lines",
        "type": "path",
        "from": {"data": "trials"},
        "encode": {
            "enter": {"stroke": {"field": "shade"}, "fill": {"value": None}},
            "update": {
                "path": {"signal": "'M' + " + " + 'L' + ".join(points)},
                "strokeWidth": {"value": 1 if many else 1.4},
                "strokeOpacity": {"signal": f"datum.kept ? {usual} : 0.05"},
                "tooltip": {"signal": f"datum.kept ? {{{tooltip}}} : null"},
                "zindex": {"value": 0},
            },
            "hover": {
                "strokeWidth": {"value": 3.2},
                "strokeOpacity": {"signal": "datum.kept ? 1 : 0.05"},
                "zindex": {"value": 1},
            },
        },
    }


def _axis_rules() -> dict[str, Any]:
    return {
        "type": "rule",
        "interactive": False,
        "from": {"data": "heads"},
        "encode": {
            "update": {
                "x": {"scale": "x", "field": "axis"},
                "y": {"scale": "y", "value": 0},
                "y2": {"scale": "y", "value": 1},
                "stroke": {"value": MUTED},
            }
        },
    }


def _texts() -> list[dict[str, Any]]:
    """The names of the axes above them, and the values beside them."""
    x = {"scale": "x", "field": "axis"}
    return [
        {
            "type": "text",
            "from": {"data": "heads"},
            "encode": {
                "update": {
                    "x": x,
                    "y": {"value": -16},
                    "text": {"field": "label"},
                    "tooltip": {"field": "name"},
                    "align": {"value": "center"},
                    "fontSize": {"value": 11},
                    "fontWeight": {"value": 600},
                    "fill": {"value": INK},
                }
            },
        },
        {
            "name": "halo",  # the page's styles draw its outline
            "type": "text",
            "interactive": False,
            "from": {"data": "ticks"},
            "encode": {
                "update": {
                    "x": {**x, "offset": 5},
                    "y": {"scale": "y", "field": "at"},
                    "text": {"field": "label"},
                    "baseline": {"value": "middle"},
                    "fontSize": {"value": 10.5},
                    "fill": {"signal": f"datum.none ? '{MUTED}' : '{INK}'"},
                }
            },
        },
    ]


def _handles(i: int) -> list[dict[str, Any]]:
    """Where an axis can be dragged, and what is chosen of it."""
    x = {"scale": "x", "value": i}
    chosen = {
        "x": {**x, "offset": -8},
        "width": {"value": 16},
        "y": {"scale": "y", "signal": f"max(brush{i}[0], brush{i}[1])"},
        "y2": {"scale": "y", "signal": f"min(brush{i}[0], brush{i}[1])"},
        "fill": {"value": ORANGE},
        "fillOpacity": {"value": 0.18},
        "stroke": {"value": ORANGE},
        "opacity": {"signal": f"set{i} ? 1 : 0"},
    }
    handle = {
        "x": {**x, "offset": -12},
        "width": {"value": 24},
        "y": {"value": 0},
        "height": {"value": HEIGHT},
        "fill": {"value": "transparent"},
        "cursor": {"value": "ns-resize"},
    }
    return [
        {"type": "rect", "interactive": False, "encode": {"update": chosen}},
        {"name": f"axis{i}", "type": "rect", "encode": {"update": handle}},
    ]


def _count(n: int) -> dict[str, Any]:
    return {
        "name": "count",
        "type": "text",
        "interactive": False,
        "encode": {
            "update": {
                "x": {"value": 0},
                "y": {"value": -34},
                "text": {"signal": f"length(data('kept')) + ' of {n} trials'"},
                "fontSize": {"value": 11},
                "fill": {"value": MUTED},
            }
        },
    }
