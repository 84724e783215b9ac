"""SVG elements, scales and ticks, of which all charts are made.

Text is escaped, coordinates are rounded to a tenth of a pixel, and every chart has a description
for screen readers. Colours are CSS variables of the page: one chart serves light, dark and print.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

INK, MUTED, GRID, PAPER = "var(--ink)", "var(--muted)", "var(--grid)", "var(--panel)"
BLUE, ORANGE, GREEN, PURPLE = "var(--blue)", "var(--orange)", "var(--green)", "var(--purple)"
"""Hues after Okabe and Ito 2008, "Color Universal Design", https://jfly.uni-koeln.de/color/; each
is used with a shape of its own, so that no information is in colour alone."""

TEXT_SIZE = 12.5
"""Font size in pixels of the chart."""

CHART_WIDTH = 900
"""Width in pixels of a chart that fills the page's column."""


_CONTROL = dict.fromkeys({*range(32), *range(127, 160)} - {9, 10}, "\N{REPLACEMENT CHARACTER}")


def printable(text: object) -> str:
    """`text` without control characters and undecodable bytes of file names."""
    return str(text).encode("utf-8", "replace").decode().translate(_CONTROL)


def element(name: str, *children: str, **attributes: object) -> Markup:
    """`<name ...>children</name>`; children that are not markup are escaped.

    Attributes that are None are left out; underscores become hyphens, a trailing one is dropped
    (`class_`).
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = "".join(
        child if isinstance(child, Markup) else escape(printable(child)) for child in children
    )
    return Markup(f"<{name}{given}>{inner}</{name}>")


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0")
    return str(escape(printable(value)))


def text(x: float, y: float, content: object, *, anchor: str = "start", **more: object) -> Markup:
    """A line of text, vertically centred on `y`."""
    given = {"fill": INK, "font_size": TEXT_SIZE, "text_anchor": anchor, **more}
    return element("text", str(content), x=float(x), y=float(y), dy="0.35em", **given)


def line(x1: float, y1: float, x2: float, y2: float, **more: object) -> Markup:
    """A straight line, by default in the style of a grid line."""
    given = {"stroke": GRID, "stroke_width": 1, **more}
    return element("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), **given)


def polyline(points: Sequence[tuple[float, float]], **more: object) -> Markup:
    """An unfilled line through points."""
    at = " ".join(f"{_value(float(x))},{_value(float(y))}" for x, y in points)
    return element("polyline", points=at, fill="none", **more)


def tooltip(content: str) -> Markup:
    """The tooltip of a mark, as a child element of it."""
    return element("title", content)


def group(*children: str, **more: object) -> Markup:
    """Marks that belong together."""
    return element("g", *children, **more)


def chart(
    key: str, *children: str, title: str, desc: str, height: float, width: float = CHART_WIDTH
) -> Markup:
    """The `<svg>` element of a chart.

    Args:
        key: prefix of its element ids, unique on the page.
        children: its marks, back to front.
        title: what it shows, in a few words.
        desc: its content in words, for screen readers.
        height: in pixels.
        width: in pixels; the page never shows it larger.
    """
    return element(
        "svg",
        element("title", title, id=f"{key}-title"),
        element("desc", desc, id=f"{key}-desc"),
        *children,
        viewBox=f"0 0 {_value(float(width))} {_value(float(height))}",
        role="img",
        aria_labelledby=f"{key}-title {key}-desc",
        style=f"max-width:{_value(float(width))}px",
    )


@dataclass(frozen=True)
class AxisScale:
    """Maps values from `low` to `high` to pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The pixel of a value, clipped to the ends."""
        low, high, at = self.low, self.high, value
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(max(value, self.low))
        share = 0.5 if high == low else min(max((at - low) / (high - low), 0.0), 1.0)
        return self.start + share * (self.end - self.start)


def ticks(low: float, high: float, n: int = 5) -> list[float]:
    """About `n` round numbers between `low` and `high`."""
    if high <= low:
        return [low]
    rough = (high - low) / n
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * nice for nice in (1, 2, 2.5, 5, 10) if power * nice >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def padded_range(
    values: Sequence[float], *, floor: float = 0.0, ceiling: float = 1.0
) -> tuple[float, float]:
    """Ends of an axis with all values and a margin, within `floor` and `ceiling`."""
    low, high = min(values), max(values)
    margin = max((high - low) * 0.06, 0.02)
    return max(low - margin, floor), min(high + margin, ceiling)


def capitalized(text: str) -> str:
    """A word at the start of a sentence; "mAP" stays as it is."""
    return text if text == "mAP" else text[:1].upper() + text[1:]


def shortened(content: object, most: int = 26) -> str:
    """`content` as text, with its middle left out if it is longer than `most` characters."""
    full = printable(content)
    if len(full) <= most:
        return full
    head = most // 2
    return f"{full[:head]}…{full[-(most - head - 1) :]}"


def text_width(words: Sequence[str], *, size: float = TEXT_SIZE) -> float:
    """Approximate width in pixels of the widest of `words`; the reader's fonts are unknown."""
    return max((len(word) for word in words), default=0) * size * 0.56


def tick_percents(values: Sequence[float]) -> list[str]:
    """Ticks as percentages, all with the digits that the most precise one needs."""
    digits = next((n for n in (0, 1) if all(abs(round(v, n + 2) - v) < 1e-9 for v in values)), 2)
    return [compact_percent(value, digits) for value in values]


def compact_percent(value: float, digits: int = 0) -> str:
    """0.875 -> "88%"."""
    return f"{value:.{digits}%}"
