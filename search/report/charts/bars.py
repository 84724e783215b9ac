"""Bars with their numbers: parameter importance, hours by architecture, sizes of sets."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from chorale.search.report.charts import svg

ROW = 24


@dataclass(frozen=True)
class Bar:
    """A value of 0 or more, and how it is written; a second one follows it in a paler colour."""

    name: str
    value: float
    said: str
    rest: float = 0.0


def bars(rows: Sequence[Bar], *, key: str, title: str, desc: str = "") -> Markup:
    """Draws a bar a row, in the order given."""
    names = [svg.shortened(row.name, 34) for row in rows]
    left = svg.breadth(names) + 16
    right = svg.WIDTH - svg.breadth([row.said for row in rows]) - 16
    most = max((row.value + row.rest for row in rows), default=0) or 1.0
    x = svg.Scale(0, most, left, right)
    marks = []
    for i, (row, name) in enumerate(zip(rows, names, strict=True)):
        y = ROW * (i + 0.5)
        ends = [(x(0), x(row.value), "1"), (x(row.value), x(row.value + row.rest), "0.4")]
        marks += [
            svg.element(
                "rect", svg.tip(f"{row.name}: {row.said}"), x=a, y=y - 7, width=max(b - a, 0.0),
                height=14, fill=svg.BLUE, fill_opacity=opacity,
            )
            for a, b, opacity in ends
            if b > a
        ]  # fmt: skip
        marks.append(svg.text(left - 8, y, name, anchor="end"))
        end = x(row.value + row.rest)
        marks.append(svg.text(end + 8, y, row.said, fill=svg.MUTED))
    marks.append(svg.line(left, 2, left, ROW * len(rows) - 2, stroke=svg.MUTED))
    said = "; ".join(f"{row.name}: {row.said}" for row in rows)
    return svg.chart(
        key, *marks, title=title, desc=desc or f"{said}.", height=ROW * max(len(rows), 1)
    )
