"""The script that draws all charts of a page: Vega, Vega-Lite and `draw.js` in one element.

The page's content security policy allows it by its hash, and nothing else: Vega's expressions are
interpreted, never compiled from text.
"""

import base64
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markupsafe import Markup

CHARTS = Path(__file__).parent
NOTICE = (
    "/*! Vega, Vega-Lite, Vega-Embed: (c) University of Washington Interactive Data Lab, "
    "BSD-3-Clause; parts: (c) Mike Bostock and others, ISC and MIT; search/report/charts/vega */"
)

LIBRARIES = ("vega.min.js", "vega-lite.min.js", "vega-embed.min.js")
"""In `vega/`, in the order in which they need one another."""


@dataclass(frozen=True)
class InlineScript:
    """A script inside a page; `csp_hash` is its source in a content security policy."""

    text: Markup
    csp_hash: str


def inline_script(text: str) -> InlineScript:
    """A script that is to stand in a page, from its trusted text."""
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return InlineScript(Markup(text), f"sha256-{digest}")


@cache
def chart_script() -> InlineScript:
    """The script of a page with charts, to be included once, after them."""
    parts = [(CHARTS / "vega" / name).read_text(encoding="utf-8") for name in LIBRARIES]
    own = (CHARTS / "draw.js").read_text(encoding="utf-8")
    lines = "\n".join([NOTICE, *parts, own]).split("\n")
    return inline_script("\n".join(one for one in lines if not one.startswith("//# source")))
