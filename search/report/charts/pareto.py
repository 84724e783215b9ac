"""Pareto front: finished trials by two objectives, with the non-dominated ones marked."""

from collections.abc import Sequence
from dataclasses import dataclass

from chorale.search.report.charts.chart import Chart, Table
from chorale.search.report.charts.style import (
    BLUE,
    ORANGE,
    marks,
    padded_range,
    quantity,
    vega_lite,
    zoom,
)
from chorale.search.report.charts.trial import TrialMark, trial_tooltip

HEIGHT = 310
MARKS = {"on the front": ("diamond", ORANGE, ORANGE), "dominated": ("circle", BLUE, BLUE)}


@dataclass(frozen=True)
class ParetoPoint:
    """A finished trial; its `second` objective is above 0, and smaller is better."""

    trial: TrialMark
    second: float
    front: bool


def pareto(pairs: Sequence[ParetoPoint], *, objective: str, second: str) -> Chart:
    """Draws the trials, `second` on a logarithmic axis, and the front as a step line."""
    rows = [
        {
            **one.trial.row(),
            "second": one.second,
            "mark": "on the front" if one.front else "dominated",
        }
        for one in sorted(pairs, key=lambda one: (one.front, one.second))
    ]
    seconds = [one.second for one in pairs]
    front = [row for row in rows if row["mark"] == "on the front"]
    x = quantity("second", f"{second} (logarithmic); less is better")
    x["scale"] = {
        "type": "log",
        "domain": [min(seconds) / 1.15, max(seconds) * 1.15],
        "nice": False,
    }
    y = quantity("value", objective, ends=padded_range([row["value"] for row in rows]))
    line = {"type": "line", "interpolate": "step-after", "color": ORANGE, "clip": True}
    shown = trial_tooltip(objective, ("second", second, ",.4~g"))
    texts = "; ".join(f"trial {r['trial']}: {r['value']:.3f} at {r['second']:,.4g}" for r in front)
    return Chart(
        "pareto",
        f"Pareto front of {objective} and {second}",
        f"On the front: {texts}.",
        vega_lite(
            height=HEIGHT,
            encoding={"x": x, "y": y},
            layer=[
                {"data": {"values": front}, "params": [zoom("x", "y")], "mark": line},
                {
                    "data": {"values": rows},
                    "mark": {"type": "point", "size": 60, "opacity": 0.8, "clip": True},
                    "encoding": {**marks("mark", MARKS), "tooltip": shown},
                },
            ],
        ),
        Table(
            ["trial", objective, second, "mark"],
            [
                [row["trial"], f"{row['value']:.3f}", f"{row['second']:,.4g}", row["mark"]]
                for row in [*front, *(row for row in rows if row not in front)]
            ],
        ),
    )  # fmt: skip
