"""Colours, the common settings of all charts, and the ends of their axes.

Colours are CSS variables of the page with a fallback for notebooks: one chart serves light, dark
and print, without a script that redraws it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

INK, MUTED = "var(--ink, #1f2328)", "var(--muted, #5d646e)"
GRID, PAPER = "var(--grid, #e4e1d9)", "var(--panel, #ffffff)"
BLUE, ORANGE = "var(--blue, #0072b2)", "var(--orange, #c85a00)"
GREEN, PURPLE = "var(--green, #00805e)", "var(--purple, #a8437f)"
"""Hues after Okabe and Ito 2008, "Color Universal Design", https://jfly.uni-koeln.de/color/; each
is used with a shape or dashes of its own, so that no information is in colour alone."""

SHADES = (
    "var(--shade-0, #cfd3d8)", "var(--shade-1, #a9bccb)", "var(--shade-2, #6f9fc0)",
    "var(--shade-3, #1f78b0)", "var(--shade-4, #c85a00)",
)  # fmt: skip
"""From low values to high ones, the last one for the best."""

CROSS = "M-.8,-.8L.8,.8M-.8,.8L.8,-.8"
"""A shape, for failures."""

FONT = "system-ui, -apple-system, Segoe UI, Roboto, Noto Sans, DejaVu Sans, sans-serif"
TEXT_SIZE = 12

CONFIG: Mapping[str, Any] = {
    "background": "transparent",
    "aria": False,  # the page has a title, a description and a table instead of a mark's label
    "font": FONT,
    "view": {"stroke": None},
    "text": {"font": FONT, "color": INK, "fontSize": TEXT_SIZE},
    "axis": {
        "labelColor": MUTED, "titleColor": MUTED, "titleFontWeight": "normal",
        "labelFontSize": TEXT_SIZE, "titleFontSize": TEXT_SIZE, "gridColor": GRID,
        "domainColor": GRID, "tickColor": GRID, "labelLimit": 190,
    },
    "axisY": {"titlePadding": 10},
    "legend": {
        "orient": "top", "labelColor": MUTED, "titleColor": MUTED, "labelFontSize": TEXT_SIZE,
        "titleFontSize": TEXT_SIZE, "titleFontWeight": "normal", "labelLimit": 220,
        "symbolStrokeWidth": 1.6,
    },
    "header": {"labelColor": INK, "labelFontSize": TEXT_SIZE, "labelFontWeight": 600},
    "title": {"color": INK, "fontSize": TEXT_SIZE, "fontWeight": 600},
}  # fmt: skip

VEGA_LITE = "https://vega.github.io/schema/vega-lite/v6.json"
"""Names the language of a specification; it is never loaded."""


def vega_lite(**body: Any) -> dict[str, Any]:
    """A specification in Vega-Lite with the common settings, as wide as the page's column.

    Source: Satyanarayan, Moritz, Wongsuphasawat and Heer 2017, "Vega-Lite: A Grammar of
    Interactive Graphics", doi:10.1109/TVCG.2016.2599030.
    """
    several = {"facet", "concat", "vconcat"} & body.keys()  # `draw.js` fits these into the page
    width = {} if several else {"width": "container"}
    return {"$schema": VEGA_LITE, "config": CONFIG, **width, **body}


def zoom(*channels: str) -> dict[str, Any]:
    """A parameter by which Ctrl with the wheel, or a pinch, zooms and dragging moves the axes.

    A double click shows everything again. The wheel alone scrolls the page.
    """
    return {
        "name": "zoom",
        "select": {
            "type": "interval",
            "encodings": list(channels),
            "zoom": "wheel![event.ctrlKey || event.metaKey]",
        },
        "bind": "scales",
    }


def quantity(
    field: str, title: str | None = None, *, ends: Sequence[float] = (), **more: Any
) -> dict[str, Any]:
    """The channel of a quantitative field; `ends` are those of its axis, `more` the axis's."""
    scale = {"scale": {"domain": list(ends), "nice": False, "zero": False}} if ends else {}
    axis = {"axis": more} if more else {}
    return {"field": field, "type": "quantitative", "title": title, **scale, **axis}


def category(field: str, values: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """The channel of a nominal field whose values have a colour, shape or dashes each."""
    scale = {"domain": list(values), "range": list(values.values())}
    return {"field": field, "type": "nominal", "title": None, "scale": scale, **more}


def marks(field: str, values: Mapping[str, tuple[str, str, str]], **more: Any) -> dict[str, Any]:
    """The channels of points by a nominal field: each value's shape, fill and stroke."""
    return {
        channel: category(field, {name: one[i] for name, one in values.items()}, **more)
        for i, channel in enumerate(("shape", "fill", "stroke"))
    }


def tooltip(*fields: str | tuple[str, str] | tuple[str, str, str]) -> list[dict[str, Any]]:
    """What a mark shows where it is pointed at: fields, their names, formats of numbers."""
    shown = []
    for one in fields:
        field, name, number = (*((one,) if isinstance(one, str) else one), "", "")[:3]
        kind = {"type": "quantitative", "format": number} if number else {"type": "nominal"}
        shown.append({"field": field, "title": name or field, **kind})
    return shown


def padded_range(
    values: Sequence[float], *, floor: float = 0.0, ceiling: float = 1.0
) -> list[float]:
    """Ends of an axis with all values and a margin, within `floor` and `ceiling`."""
    low, high = min(values), max(values)
    margin = max((high - low) * 0.06, 0.02)
    return [round(max(low - margin, floor), 6), round(min(high + margin, ceiling), 6)]


def without_variables(text: str) -> str:
    """A specification's JSON with the fallbacks of all colours, for readers without the page."""
    return re.sub(r"var\(--[a-z0-9-]+, (#[0-9a-f]{6})\)", r"\1", text)
