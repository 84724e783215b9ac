"""Optimization history: the objective of each trial in order, and the best value so far."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chorale.search.report.charts.chart import Chart
from chorale.search.report.charts.style import ORANGE, padded_range, quantity, vega_lite, zoom
from chorale.search.report.charts.trial import (
    STATE_LABELS,
    TrialMark,
    state_marks,
    trial_tooltip,
)

HEIGHT = 300
MANY = 150
"""From this number of trials on, marks are smaller."""


@dataclass(frozen=True)
class HistoryPoint:
    """One trial, and whether it became a finalist."""

    trial: TrialMark
    finalist: bool = False


def history(trials: Sequence[HistoryPoint], *, objective: str) -> Chart:
    """Draws one mark per trial in the order of their numbers, failed ones at the lower edge."""
    ordered = sorted(trials, key=lambda one: one.trial.number)
    values = [one.trial.value for one in ordered if one.trial.value is not None] or [0.0, 1.0]
    last = max((one.trial.number for one in ordered), default=0)
    steps = _steps(ordered, last)
    rows = [{**one.trial.row(), "finalist": one.finalist} for one in ordered]
    x = quantity("trial", "trial", ends=(-1, last + 1), tickMinStep=1, grid=False)
    y = quantity("value", objective, ends=padded_range(values))
    point = {"type": "point", "clip": True, "opacity": 1, "size": 30 if last >= MANY else 60}
    line = {"type": "line", "interpolate": "step-after", "color": ORANGE, "clip": True}
    counts = {
        word: sum(one.trial.label == word for one in ordered) for word in STATE_LABELS.values()
    }
    ended = ", ".join(f"{count} {word}" for word, count in counts.items())
    best = f"Best value {steps[-1]['value']:.3f}." if steps else "None finished."
    return Chart(
        "history",
        f"Optimization history ({objective} on validation tracks)",
        f"{len(ordered)} trials: {ended}. {best} Every trial is in the leaderboard.",
        vega_lite(
            height=HEIGHT,
            encoding={"x": x, "y": y},
            layer=[
                {"data": {"values": steps}, "params": [zoom("x", "y")], "mark": line},
                {
                    "data": {"values": [row for row in rows if row["finalist"]]},
                    "mark": {**point, "size": 190, "stroke": ORANGE, "filled": False},
                },
                {
                    "data": {"values": [row for row in rows if not _is_below(row)]},
                    "mark": point,
                    "encoding": {**state_marks(), "tooltip": trial_tooltip(objective)},
                },
                {
                    "data": {"values": [row for row in rows if _is_below(row)]},
                    "mark": {**point, "size": 60},
                    "encoding": {
                        "y": {"value": HEIGHT - 8},
                        **state_marks(),
                        "tooltip": trial_tooltip(objective, "reason"),
                    },
                },
            ],
        ),
    )


def _is_below(row: Mapping[str, Any]) -> bool:
    """Whether a trial has no place on the axis of the objective."""
    return row["state"] == "failed" or "value" not in row


def _steps(ordered: Sequence[HistoryPoint], last: int) -> list[dict[str, Any]]:
    """The finished trials after which there is a new best value, and the end of the line."""
    steps: list[dict[str, Any]] = []
    for one in ordered:
        value = one.trial.value
        if one.trial.state != "COMPLETE" or value is None:
            continue
        if not steps or value > steps[-1]["value"]:
            steps.append({"trial": one.trial.number, "value": value})
    return [*steps, {"trial": last, "value": steps[-1]["value"]}] if steps else []
