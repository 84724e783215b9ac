"""SVG as text: escaped, rounded to a tenth of a pixel, and described for who cannot see it.

Every chart is made of these. Colours are the page's variables, so that one drawing serves paper, a
light and a dark screen.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

INK, MUTED, GRID, PAPER = "var(--ink)", "var(--muted)", "var(--grid)", "var(--panel)"
BLUE, ORANGE, GREEN, PURPLE = "var(--blue)", "var(--orange)", "var(--green)", "var(--purple)"
"""Hues after Okabe and Ito 2008, "Color Universal Design", https://jfly.uni-koeln.de/color/; each
is used with a shape of its own, so that nothing is said by colour alone."""

SIZE = 12.5
"""Of text, in pixels of the drawing."""

WIDTH = 900
"""Of a chart that fills the page's column."""


_CONTROL = dict.fromkeys({*range(32), *range(127, 160)} - {9, 10}, "\N{REPLACEMENT CHARACTER}")


def clean(text: object) -> str:
    """`text` without what no page can hold: control characters and the odd bytes of file names."""
    return str(text).encode("utf-8", "replace").decode().translate(_CONTROL)


def element(name: str, *children: str, **attributes: object) -> Markup:
    """`<name ...>children</name>`; what is no markup yet is escaped, None attributes are left out.

    An attribute's underscores stand for hyphens, one at its end for nothing: `class_`.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = "".join(
        child if isinstance(child, Markup) else escape(clean(child)) for child in children
    )
    return Markup(f"<{name}{given}>{inner}</{name}>")


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0")
    return str(escape(clean(value)))


def text(x: float, y: float, said: object, *, anchor: str = "start", **more: object) -> Markup:
    """A line of text whose middle is at height `y`."""
    given = {"fill": INK, "font_size": SIZE, "text_anchor": anchor, **more}
    return element("text", str(said), x=float(x), y=float(y), dy="0.35em", **given)


def line(x1: float, y1: float, x2: float, y2: float, **more: object) -> Markup:
    """A straight line, as thin and pale as a grid's unless told otherwise."""
    given = {"stroke": GRID, "stroke_width": 1, **more}
    return element("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), **given)


def polyline(points: Sequence[tuple[float, float]], **more: object) -> Markup:
    """A line through points, not filled."""
    at = " ".join(f"{_value(float(x))},{_value(float(y))}" for x, y in points)
    return element("polyline", points=at, fill="none", **more)


def tip(said: str) -> Markup:
    """What a mark says when it is pointed at; a child of the mark."""
    return element("title", said)


def group(*children: str, **more: object) -> Markup:
    """Marks that belong together."""
    return element("g", *children, **more)


def chart(
    key: str, *children: str, title: str, desc: str, height: float, width: float = WIDTH
) -> Markup:
    """The whole drawing.

    Args:
        key: a word that no other chart of the page has.
        children: its marks, back to front.
        title: what it shows, in a few words.
        desc: what is to be seen in it, for who cannot see it.
        height: in pixels, as `width`.
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
class Scale:
    """Maps values from `low` to `high` to pixels from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Where a value stands; one beyond the ends stands at the nearer end."""
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


def around(
    values: Sequence[float], *, floor: float = 0.0, ceiling: float = 1.0
) -> tuple[float, float]:
    """Ends of an axis that holds all values with some air, within `floor` and `ceiling`."""
    low, high = min(values), max(values)
    air = max((high - low) * 0.06, 0.02)
    return max(low - air, floor), min(high + air, ceiling)


def shortened(said: object, most: int = 26) -> str:
    """`said`, with its middle left out where it is longer than `most` characters."""
    whole = clean(said)
    if len(whole) <= most:
        return whole
    head = most // 2
    return f"{whole[:head]}…{whole[-(most - head - 1) :]}"


def breadth(words: Sequence[str], *, size: float = SIZE) -> float:
    """About how wide the widest of `words` is, in pixels; nobody knows the reader's fonts."""
    return max((len(word) for word in words), default=0) * size * 0.56


def percents(values: Sequence[float]) -> list[str]:
    """Ticks as percentages, all with as many digits as the least round one needs."""
    digits = next((n for n in (0, 1) if all(abs(round(v, n + 2) - v) < 1e-9 for v in values)), 2)
    return [percent(value, digits) for value in values]


def percent(value: float, digits: int = 0) -> str:
    """0.875 -> "88%"."""
    return f"{value:.{digits}%}"
