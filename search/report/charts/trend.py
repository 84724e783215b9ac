"""Trend over nightly runs: the champion's test score with its CI, candidates, verdicts, cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chorale.search.report.charts.chart import Chart
from chorale.search.report.charts.style import (
    BLUE,
    CROSS,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    PAPER,
    PURPLE,
    marks,
    padded_range,
    quantity,
    tooltip,
    vega_lite,
)

WIDTH, HEIGHT, COST_HEIGHT = 800, 250, 50
PANELS = {"columns": 1, "least": 1, "most": 1100, "inset": 80, "gap": 0}
"""How `draw.js` fits the three parts into the page, in pixels."""

VERDICTS = {
    "PROMOTED": ("diamond", ORANGE, ORANGE),
    "KEPT": ("square", GREEN, GREEN),
    "INCONCLUSIVE": ("triangle", PAPER, INK),
    "REFUSED": (CROSS, PAPER, PURPLE),
    "FAILED": (CROSS, PAPER, PURPLE),
    "MISSED": ("M-1,0L1,0", PAPER, MUTED),
}
"""Shape, fill and stroke of each verdict."""

MODELS = {"champion": ("circle", BLUE, BLUE), "candidate": ("circle", PAPER, MUTED)}


@dataclass(frozen=True)
class NightMark:
    """One night: its date, its verdict, and accuracies or mAPs from 0 to 1.

    `champion` is that of the champion after the night with the ends of its interval,
    `candidate` that of the night's candidate; both None if not measured. `hours` is the
    night's wall time, `reason` that of the verdict.
    """

    date: str
    verdict: str
    champion: tuple[float, float, float] | None
    candidate: float | None
    hours: float | None
    reason: str


def trend(nights: Sequence[NightMark], *, metric: str = "accuracy") -> Chart:
    """Draws the nights from left to right, oldest first; `metric` is the score's name."""
    verdicts = [n.verdict for n in nights]
    counts = ", ".join(f"{verdicts.count(one)} {one}" for one in dict.fromkeys(verdicts))
    last = next((n.champion for n in reversed(nights) if n.champion), None)
    now = "" if last is None else f" The champion's {metric} is {last[0]:.1%}."
    return Chart(
        "trend",
        f"The champion's test {metric} by night, with 95 % confidence intervals",
        f"{len(nights)} nights: {counts}.{now} Every night is in the table below.",
        vega_lite(
            usermeta={"panels": PANELS},
            vconcat=[_scores(nights, metric), _verdicts(nights), _costs(nights)],
            spacing=8,
            resolve={"scale": dict.fromkeys(("shape", "fill", "stroke"), "independent")},
        ),
        min_width=640,
    )


def _nights(nights: Sequence[NightMark], *, labels: bool) -> dict[str, Any]:
    axis = {
        "title": None, "labelExpr": "slice(datum.label, 5)", "labelAngle": 0, "grid": False,
        "labelOverlap": True, "labels": labels, "ticks": False,
    }  # fmt: skip
    scale = {"domain": [n.date for n in nights], "type": "point", "padding": 0.5}
    return {"field": "date", "type": "ordinal", "scale": scale, "axis": axis}


def _scores(nights: Sequence[NightMark], metric: str) -> dict[str, Any]:
    champions = [
        {"date": n.date, "value": n.champion[0], "low": n.champion[1], "high": n.champion[2],
         "verdict": n.verdict, "model": "champion"}
        for n in nights
        if n.champion is not None
    ]  # fmt: skip
    candidates = [
        {"date": n.date, "value": n.candidate, "verdict": n.verdict, "model": "candidate"}
        for n in nights
        if n.candidate is not None and n.verdict != "PROMOTED"
    ]
    ends = [end for n in nights if n.champion is not None for end in n.champion]
    ends += [n.candidate for n in nights if n.candidate is not None]
    y = quantity("value", metric, ends=padded_range(ends or [0.0, 1.0]), format="~%")
    interval = {"y": {**y, "field": "low"}, "y2": {"field": "high"}}
    shown = tooltip("date", "model", "verdict", ("value", metric, ".1%"))
    limits = tooltip(("low", "95 % CI from", ".1%"), ("high", "to", ".1%"))
    models = marks("model", MODELS)
    point = {"type": "point", "opacity": 1}
    by_champion = [
        ({"type": "area", "color": BLUE, "opacity": 0.12}, interval),
        ({"type": "line", "color": BLUE}, {"y": y}),
        ({"type": "rule", "color": BLUE, "strokeWidth": 1.4}, interval),
        ({**point, "size": 60}, {"y": y, **models, "tooltip": [*shown, *limits]}),
    ]
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "data": {"values": champions},
        "encoding": {"x": _nights(nights, labels=False)},
        "layer": [
            *({"mark": mark, "encoding": encoding} for mark, encoding in by_champion),
            {
                "data": {"values": candidates},
                "mark": {**point, "size": 45, "xOffset": 9},
                "encoding": {"y": y, **models, "tooltip": shown},
            },
        ],
    }


def _verdicts(nights: Sequence[NightMark]) -> dict[str, Any]:
    used = {name: one for name, one in VERDICTS.items() if any(n.verdict == name for n in nights)}
    rows = [{"date": n.date, "verdict": n.verdict, "reason": n.reason} for n in nights]
    return {
        "width": WIDTH,
        "height": 18,
        "data": {"values": rows},
        "mark": {"type": "point", "size": 80, "opacity": 1},
        "encoding": {
            "x": _nights(nights, labels=True),
            **marks("verdict", used),
            "tooltip": tooltip("date", "verdict", "reason"),
        },
    }


def _costs(nights: Sequence[NightMark]) -> dict[str, Any]:
    """One bar per night: its wall time."""
    most = max([n.hours for n in nights if n.hours is not None], default=0.0)
    unit, times = ("h", 1.0) if most >= 1 else ("min", 60.0)
    rows = [{"date": n.date, "took": n.hours * times} for n in nights if n.hours is not None]
    wide = round(min(26.0, 0.6 * WIDTH / max(len(nights), 1)), 1)
    return {
        "width": WIDTH,
        "height": COST_HEIGHT,
        "data": {"values": rows},
        "mark": {"type": "bar", "color": MUTED, "opacity": 0.55, "width": wide},
        "encoding": {
            "x": _nights(nights, labels=False),
            "y": quantity("took", unit, tickCount=2, grid=False),
            "tooltip": tooltip("date", ("took", f"took ({unit})", ".3~g")),
        },
    }
