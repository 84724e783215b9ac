"""Horizontal bar chart: hyperparameter importance, member weights, training time, set sizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chorale.search.report.charts.chart import Chart, Table
from chorale.search.report.charts.rows import row_names
from chorale.search.report.charts.style import BLUE, MUTED, quantity, tooltip, vega_lite

ROW = 24


@dataclass(frozen=True)
class BarRow:
    """A value of 0 or more and its text; `rest` is appended to the bar in a paler colour."""

    name: str
    value: float
    text: str
    rest: float = 0.0


def bars(rows: Sequence[BarRow], *, key: str, title: str, desc: str = "") -> Chart:
    """Draws one bar per row, in the given order; the rows have different names."""
    values = [
        {"name": row.name, "value": row.value, "end": row.value + row.rest, "text": row.text}
        for row in rows
    ]
    most = max((row.value + row.rest for row in rows), default=0) or 1.0

    def x(field: str) -> dict[str, Any]:
        return {**quantity(field, ends=(0, most)), "axis": None}

    bar = {"type": "bar", "color": BLUE, "height": 14}
    return Chart(
        key,
        title,
        desc or "; ".join(f"{row.name}: {row.text}" for row in rows) + ".",
        vega_lite(
            height=ROW * max(len(rows), 1),
            data={"values": values},
            encoding={"y": row_names(), "tooltip": tooltip("name", ("text", "value"))},
            layer=[
                {"mark": bar, "encoding": {"x": x("value"), "x2": {"datum": 0}}},
                {
                    "mark": {**bar, "opacity": 0.4},
                    "encoding": {"x": x("value"), "x2": {"field": "end"}},
                },
                {
                    "mark": {"type": "text", "align": "left", "dx": 8, "color": MUTED},
                    "encoding": {"x": x("end"), "text": {"field": "text", "type": "nominal"}},
                },
            ],
        ),
        Table(["name", "value"], [[row.name, row.text] for row in rows]),
    )
