"""Strip plot of the objective by architecture: one line each, with median and best trial."""

from collections.abc import Mapping, Sequence
from statistics import median

from chorale.search.report.charts.chart import Chart
from chorale.search.report.charts.rows import row_names
from chorale.search.report.charts.style import (
    BLUE,
    INK,
    MUTED,
    ORANGE,
    PAPER,
    marks,
    padded_range,
    quantity,
    vega_lite,
)
from chorale.search.report.charts.trial import TrialMark, trial_tooltip

ROW = 28
MARKS = {
    "done": ("circle", BLUE, BLUE),
    "pruned": ("circle", PAPER, MUTED),
    "failed": ("triangle", PAPER, MUTED),
    "median of done": ("M0,-2.6L0,2.6", INK, INK),
    "best": ("diamond", ORANGE, ORANGE),
}
"""Shape, fill and stroke of each mark."""


def architectures(values: Mapping[str, Sequence[TrialMark]], *, objective: str) -> Chart:
    """Draws a line for each architecture, in the given order, each with at least one trial.

    Every trial has a value. A bar marks the median of the finished trials, a diamond the best.
    """
    rows = []
    facts = []
    for name, trials in values.items():
        done = [one for one in trials if one.state == "COMPLETE"]
        best = max(done, key=lambda one: one.value or 0.0, default=None)
        rows += [
            {**one.row(), "architecture": name, "mark": "best" if one is best else one.label}
            for one in trials
        ]
        if best is None:
            facts.append(f"{name}: no finished trial")
            continue
        middle = median(one.value or 0.0 for one in done)
        rows.append({"architecture": name, "value": middle, "mark": "median of done"})
        facts.append(f"{name}: best {best.value:.3f}, median {middle:.3f}")
    used = [name for name in MARKS if any(row["mark"] == name for row in rows)]
    ends = padded_range([row["value"] for row in rows])
    return Chart(
        "architectures",
        f"Objective of all trials by architecture ({objective} on validation tracks)",
        "; ".join(facts) + ". Every trial is in the leaderboard.",
        vega_lite(
            height=ROW * len(values),
            data={"values": rows},
            mark={"type": "point", "size": 55, "opacity": 0.75},
            encoding={
                "y": row_names("architecture"),
                "x": quantity("value", objective, ends=ends, tickCount=8),
                **marks("mark", {name: MARKS[name] for name in used}),
                "tooltip": trial_tooltip(objective),
            },
        ),
    )
