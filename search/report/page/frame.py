"""The frame of all pages but the report itself: styles, head, foot, and the charts' script."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from chorale.cluster.versions import DISTRIBUTION, version_of
from chorale.search.report.charts.script import chart_script
from chorale.search.report.charts.text import printable
from chorale.search.report.page.page import REPORT_TEMPLATES


def render_framed(
    templates: Path, name: str, values: Mapping[str, Any], *, filters: Mapping[str, Any] = {}
) -> str:
    """The HTML of a page whose template extends `frame.html`.

    Everything is escaped but charts, which escape their texts themselves. The page's content
    security policy forbids network access and all scripts but that of the charts.

    Args:
        templates: the folder of the page's own templates.
        name: its template in that folder.
        values: what the template gets; `title`, `kicker` and `dateline` are the frame's.
        filters: Jinja's filters of the template.
    """
    environment = Environment(
        loader=FileSystemLoader([templates, REPORT_TEMPLATES]), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(filters)
    made = environment.get_template(name).render(
        **values,
        chart_script=chart_script(),
        style=Markup((REPORT_TEMPLATES / "style.css").read_text(encoding="utf-8")),
        chorale_version=version_of(DISTRIBUTION),
        written=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    )
    return printable(made)
