"""Forest plot: test accuracy (or mAP) of each ensemble and baseline with its 95 % interval."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from chorale.search.report.charts.chart import Chart, Table
from chorale.search.report.charts.rows import row_names, text_column
from chorale.search.report.charts.style import (
    BLUE,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    PAPER,
    marks,
    padded_range,
    quantity,
    tooltip,
    vega_lite,
)

ROW = 27
KINDS = {
    "chosen": ("diamond", ORANGE, ORANGE),
    "ensemble": ("circle", BLUE, BLUE),
    "single": ("circle", GREEN, GREEN),
    "baseline": ("square", PAPER, MUTED),
}
"""Shape, fill and stroke of each kind."""


@dataclass(frozen=True)
class Estimate:
    """An accuracy or mAP (0 to 1) with its interval; `gain` is written at the end of the line."""

    name: str
    value: float
    low: float
    high: float
    kind: Literal["chosen", "ensemble", "single", "baseline"]
    gain: str = ""


def forest(
    rows: Sequence[Estimate],
    *,
    metric: str = "accuracy",
    title: str | None = None,
) -> Chart:
    """Draws the rows in the given order, which have different names.

    `metric` is the score's name, "accuracy" or "mAP".

    Source: Lewis and Clarke 2001, "Forest plots: trying to see the wood and the trees",
    doi:10.1136/bmj.322.7300.1479.
    """
    has_gains = any(row.gain for row in rows)
    columns = [("text", metric, 16), ("interval", "95 % CI", 76)]
    columns += [("gain", "ensemble's gain", 176)] * has_gains
    values = [
        {
            **asdict(row),
            "text": f"{row.value:.1%}",
            "interval": f"{100 * row.low:.1f} \N{EN DASH} {100 * row.high:.1f}",
        }
        for row in rows
    ]
    ends = padded_range([end for row in rows for end in (row.low, row.high)])
    kinds = marks("kind", KINDS, legend=None)
    layers: list[dict[str, Any]] = [
        {
            "transform": [{"filter": "datum.kind === 'chosen'"}],
            "mark": {"type": "rule", "color": ORANGE, "strokeDash": [2, 3]},
            "encoding": {"x": _share("value", ends)},
        },
        {
            "mark": {"type": "errorbar", "ticks": {"size": 8}, "thickness": 2},
            "encoding": {
                "y": row_names(),
                "x": _share("low", ends),
                "x2": {"field": "high"},
                "color": kinds["stroke"],
            },
        },
        {
            "mark": {"type": "point", "size": 80, "opacity": 1},
            "encoding": {
                "y": row_names(),
                "x": _share("value", ends),
                **kinds,
                "tooltip": tooltip("name", *((field, head) for field, head, _ in columns)),
            },
        },
    ]
    for field, head, at in columns:
        layers += text_column(field, head, at, color=INK if field == "text" else MUTED)
    best = max(rows, key=lambda row: row.value)
    texts = [f"{row.name}: {row.value:.1%} ({row.low:.1%} to {row.high:.1%})" for row in rows]
    return Chart(
        "forest",
        title or f"Test {metric} of every ensemble and baseline, with 95 % confidence intervals",
        f"Highest: {best.name}. " + "; ".join(texts) + ".",
        vega_lite(height=ROW * len(rows), data={"values": values}, layer=layers),
        Table(
            ["name", *(head for _, head, _ in columns)],
            [[one["name"], *(one[field] for field, _, _ in columns)] for one in values],
        ),
        min_width=680 if has_gains else 560,
    )


def _share(field: str, ends: Sequence[float]) -> dict[str, Any]:
    return quantity(field, ends=ends, format="~%", tickCount=8)
