"""`chorale data list [--json]`."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import Any

from chorale.datasets import catalog, plugins
from chorale.datasets.base import DatasetInfo
from chorale.datasets.download.fetch import by_hand, part_names
from chorale.datasets.errors import UserError

HELP = """\
usage: chorale data list [--json]

Lists every dataset that Chorale reads, with its licence and how to get it. --json gives the same,
with citations, labels, addresses and checksums, to other programs.
"""


def run(words: Sequence[str]) -> int:
    """Runs the command; gives its exit code."""
    if any(word in ("-h", "--help") for word in words):
        print(HELP)
        return 0
    if unknown := [word for word in words if word != "--json"]:
        raise UserError(f"unknown word '{unknown[0]}'; the only one allowed is --json")
    infos = [plugins.load(catalog, name, kind="dataset").INFO for name in plugins.names(catalog)]
    if "--json" in words:
        print(json.dumps([_plain(info) for info in infos], indent=2, ensure_ascii=False))
    else:
        _print_table(infos)
    return 0


def how_to_get(info: DatasetInfo) -> str:
    """What to type for a dataset, or what to do where no program may get it."""
    if info.downloads:
        parts = part_names(info)
        choice = f" [--part {'|'.join(parts)}]" if parts else ""
        return f"chorale data fetch {info.name} --root FOLDER{choice}"
    return by_hand(info)


def _print_table(infos: Sequence[DatasetInfo]) -> None:
    from rich.console import Console
    from rich.table import Table

    # A log file has no width of its own; 80 columns would be too narrow to read.
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    table = Table(show_lines=True)
    table.add_column("name", no_wrap=True, style="bold")
    table.add_column("title")
    table.add_column("tracks", justify="right", no_wrap=True)
    for column in ("size", "licence", "how to get it"):
        table.add_column(column, overflow="fold")
    for info in infos:
        n_tracks = "" if info.n_tracks is None else f"{info.n_tracks:,}"
        cells = (info.name, info.title, n_tracks, info.size, info.licence, how_to_get(info))
        table.add_row(*(_unmarked(cell) for cell in cells))
    console.print(table)


def _unmarked(text: str) -> str:
    """`text` with what rich would take for a colour, such as [--part], kept as it is."""
    from rich.markup import escape

    return escape(text)


def _plain(info: DatasetInfo) -> dict[str, Any]:
    values = {one.name: getattr(info, one.name) for one in dataclasses.fields(info)}
    downloads = [dataclasses.asdict(one) for one in info.downloads]
    return values | {"checksums": dict(info.checksums), "downloads": downloads}
