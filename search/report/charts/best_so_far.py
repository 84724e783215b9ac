"""Best objective so far: one line for each of several studies, by the number of ended trials."""

from collections.abc import Mapping, Sequence
from typing import Any

from chorale.search.report.charts.chart import Chart, Table
from chorale.search.report.charts.style import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    category,
    padded_range,
    quantity,
    tooltip,
    vega_lite,
    zoom,
)

COLOURS = (BLUE, ORANGE, GREEN, PURPLE)
DASHES = ([1, 0], [7, 3], [2, 3], [9, 3, 2, 3])
"""Of the lines; the next four have the same colours, each with the next dashes, and so on."""


def best_so_far(studies: Mapping[str, Sequence[float | None]], *, objective: str) -> Chart:
    """Draws a line of steps for each study.

    `studies` maps each name to the best value after each trial, None before the first one.
    """
    values = [one for line in studies.values() for one in line if one is not None] or [0.0, 1.0]
    rows = [row for name, line in studies.items() for row in _steps(name, line)]
    described = [
        f"{name}: {known[-1]:.3f} after {len(line)} trials" if known else f"{name}: none"
        for name, line in studies.items()
        for known in [[value for value in line if value is not None]]
    ]
    colours, dashes = {}, {}
    for i, name in enumerate(studies):
        colours[name] = COLOURS[i % len(COLOURS)]
        dashes[name] = DASHES[(i + i // len(COLOURS)) % len(DASHES)]
    line = {"type": "line", "interpolate": "step-after", "clip": True}
    return Chart(
        "best-so-far",
        f"Best {objective} on validation tracks by the number of trials",
        "; ".join(described) + ".",
        vega_lite(
            height=280,
            data={"values": rows},
            params=[zoom("x", "y")],
            mark={**line, "point": {"size": 36, "filled": True}},
            encoding={
                "x": quantity("trials", "trials", tickMinStep=1),
                "y": quantity("best", objective, ends=padded_range(values)),
                "color": category("study", colours),
                "strokeDash": category("study", dashes),
                "tooltip": tooltip("study", "trials", ("best", objective, ".3f")),
            },
        ),
        Table(
            ["study", "trials", f"best {objective}"],
            [[row["study"], row["trials"], f"{row['best']:.3f}"] for row in rows],
        ),
    )


def _steps(name: str, line: Sequence[float | None]) -> list[dict[str, Any]]:
    """The trials after which there is a new best one, and the last trial."""
    steps = []
    best = None
    for n, value in enumerate(line, start=1):
        if value is not None and (value != best or n == len(line)):
            best = value
            steps.append({"study": name, "trials": n, "best": value})
    return steps
