"""Horizontal bar chart: hyperparameter importance, member weights, training time, set sizes."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from chorale.search.report.charts import svg

ROW = 24


@dataclass(frozen=True)
class BarRow:
    """A value of 0 or more and its text; `rest` is appended to the bar in a paler colour."""

    name: str
    value: float
    text: str
    rest: float = 0.0


def bars(rows: Sequence[BarRow], *, key: str, title: str, desc: str = "") -> Markup:
    """Draws one bar per row, in the given order."""
    names = [svg.shortened(row.name, 34) for row in rows]
    left = svg.text_width(names) + 16
    right = svg.CHART_WIDTH - svg.text_width([row.text for row in rows]) - 16
    most = max((row.value + row.rest for row in rows), default=0) or 1.0
    x = svg.AxisScale(0, most, left, right)
    marks = []
    for i, (row, name) in enumerate(zip(rows, names, strict=True)):
        y = ROW * (i + 0.5)
        ends = [(x(0), x(row.value), "1"), (x(row.value), x(row.value + row.rest), "0.4")]
        marks += [
            svg.element(
                "rect", svg.tooltip(f"{row.name}: {row.text}"), x=a, y=y - 7, width=max(b - a, 0.0),
                height=14, fill=svg.BLUE, fill_opacity=opacity,
            )
            for a, b, opacity in ends
            if b > a
        ]  # fmt: skip
        marks.append(svg.text(left - 8, y, name, anchor="end"))
        end = x(row.value + row.rest)
        marks.append(svg.text(end + 8, y, row.text, fill=svg.MUTED))
    marks.append(svg.line(left, 2, left, ROW * len(rows) - 2, stroke=svg.MUTED))
    every = "; ".join(f"{row.name}: {row.text}" for row in rows)
    return svg.chart(
        key, *marks, title=title, desc=desc or f"{every}.", height=ROW * max(len(rows), 1)
    )
