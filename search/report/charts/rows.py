"""Charts with a row for each name: the axis of names, and columns of text at the right."""

from typing import Any

from chorale.search.report.charts.style import INK, MUTED


def row_names(field: str = "name") -> dict[str, Any]:
    """The vertical axis: names, which are different, in the order of the data."""
    axis = {"title": None, "grid": False, "ticks": False, "domain": False, "labelColor": INK}
    return {"field": field, "type": "nominal", "sort": None, "axis": {**axis, "labelPadding": 10}}


def text_column(field: str, head: str, at: int, *, color: str = MUTED) -> list[dict[str, Any]]:
    """Two layers: a field's texts `at` pixels from the right end of the axis, and their head."""
    place: dict[str, Any] = {"type": "text", "align": "left", "dx": at}
    x = {"value": "width"}
    return [
        {
            "mark": {**place, "color": color},
            "encoding": {"x": x, "y": row_names(), "text": {"field": field, "type": "nominal"}},
        },
        {
            "data": {"values": [{}]},
            "mark": {**place, "color": MUTED, "fontSize": 11},
            "encoding": {"x": x, "y": {"value": -12}, "text": {"value": head}},
        },
    ]
