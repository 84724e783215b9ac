"""A chart: its specification, and what stands for it where it cannot be drawn or seen."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from chorale.search.report.charts.style import without_variables
from chorale.search.report.charts.text import printable

MAX_TABLE_ROWS = 200
"""Rows of the table of a chart's data; further ones are counted."""

NOTEBOOK_WIDTH = 700
"""In pixels; a notebook's output may have no width of its own."""

_FRAME = Markup(
    '<p class="chart-title" id="{key}-title">{title}</p>\n'
    '<div class="scroll" tabindex="0" role="group" '
    'aria-label="Chart; scrolls sideways if it is wider than the screen">\n'
    '<div class="chart" id="{key}-chart" style="min-width:{min_width}px" role="img" '
    'aria-labelledby="{key}-title" aria-describedby="{key}-desc"></div>\n</div>\n'
    '<p class="chart-desc" id="{key}-desc">{description}</p>\n{table}'
    '<script type="application/json" id="{key}-spec">{spec}</script>'
)

_TABLE = Markup(
    '<details class="chart-data"><summary>Data</summary>\n'
    '<div class="scroll" tabindex="0" role="group" aria-label="Table of the chart\'s data">\n'
    "<table><caption>{title}{rest}</caption>\n<thead><tr>{head}</tr></thead>\n"
    "<tbody>{body}</tbody></table>\n</div>\n</details>\n"
)


@dataclass(frozen=True)
class Table:
    """The data of a chart as texts; the first cell of a row names it."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True)
class Chart:
    """A chart that a page draws in the browser, and that a notebook shows.

    Args:
        key: prefix of its element ids, unique on the page.
        title: what it shows, in a few words.
        description: its content in words: for screen readers, and where no script runs.
        spec: in Vega-Lite, or in Vega, as its `$schema` says.
        table: its data, if the page has no other table of them.
        min_width: in pixels; on narrower screens the chart scrolls sideways.
    """

    key: str
    title: str
    description: str
    spec: Mapping[str, Any]
    table: Table | None = None
    min_width: int = 480

    def __html__(self) -> str:
        """The markup of the chart; the page's script draws it, see `script.py`."""
        return str(
            _FRAME.format(
                key=self.key,
                title=printable(self.title),
                description=printable(self.description),
                min_width=self.min_width,
                table=self._table(),
                spec=Markup(script_json(self.spec)),
            )
        )

    def _table(self) -> Markup:
        if self.table is None:
            return Markup("")
        head = Markup("").join(
            Markup('<th scope="col">{}</th>').format(printable(name)) for name in self.table.columns
        )
        cell, name = Markup("<td>{}</td>"), Markup('<th scope="row">{}</th>')
        body = Markup("\n").join(
            Markup("<tr>{}{}</tr>").format(
                name.format(printable(first)),
                Markup("").join(cell.format(printable(one)) for one in others),
            )
            for first, *others in self.table.rows[:MAX_TABLE_ROWS]
        )
        n_left_out = len(self.table.rows) - MAX_TABLE_ROWS
        rest = f" ({n_left_out} further rows are left out)" if n_left_out > 0 else ""
        return _TABLE.format(title=printable(self.title), rest=rest, head=head, body=body)

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        """For notebooks: the specification, and title, description and table elsewhere."""
        spec = json.loads(without_variables(json.dumps(_printable(self.spec))))
        language = spec["$schema"].split("/")[-2]
        # front ends know version 5, of which these specifications are, too
        if spec.get("width") == "container":
            spec["width"] = NOTEBOOK_WIDTH
        spec["$schema"] = f"https://vega.github.io/schema/{language}/v5.json"
        words = Markup("<p><strong>{}</strong></p>\n<p>{}</p>\n").format(
            printable(self.title), printable(self.description)
        )
        return {
            f"application/vnd.{language.replace('-', '')}.v5+json": spec,
            "text/html": str(words + self._table()),
            "text/plain": f"{printable(self.title)}: {printable(self.description)}",
        }


def script_json(value: object) -> str:
    """JSON that neither ends a script element nor is markup."""
    text = json.dumps(_printable(value), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _printable(value: object) -> object:
    """The same with all texts, which come from file systems, made printable, and None for NaN."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _printable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(one) for one in value]
    return value
