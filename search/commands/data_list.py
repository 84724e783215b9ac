"""`chorale data list`: all datasets that Chorale can read."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from chorale.datasets import catalog, plugins
from chorale.datasets.base import DatasetInfo
from chorale.datasets.download.fetch import manual_instructions, part_names
from chorale.search.commands.command import command
from chorale.search.commands.console import console
from chorale.search.commands.parameters import flag


@command(examples=["chorale data list", "chorale data list --json"])
@flag("--json", "Print JSON, also with citations, labels, addresses and checksums.", name="as_json")
def run(as_json: bool) -> int:
    """Lists every dataset that Chorale can read, with its licence and how to get it."""
    infos = [
        plugins.load_plugin(catalog, name, kind="dataset").INFO
        for name in plugins.plugin_names(catalog)
    ]
    if as_json:
        print(json.dumps([_plain(info) for info in infos], indent=2, ensure_ascii=False))
    else:
        _print_table(infos)
    return 0


def download_advice(info: DatasetInfo) -> str:
    """The command that downloads a dataset, or what to do where no program may download it."""
    if info.downloads:
        parts = part_names(info)
        choice = f" [--part {'|'.join(parts)}]" if parts else ""
        return f"chorale data fetch {info.name} --root FOLDER{choice}"
    return manual_instructions(info)


def _print_table(infos: Sequence[DatasetInfo]) -> None:
    from rich.table import Table

    table = Table(show_lines=True)
    table.add_column("name", no_wrap=True, style="bold")
    table.add_column("title")
    table.add_column("tracks", justify="right", no_wrap=True)
    for column in ("size", "licence", "how to get it"):
        table.add_column(column, overflow="fold")
    for info in infos:
        n_tracks = "" if info.n_tracks is None else f"{info.n_tracks:,}"
        cells = (info.name, info.title, n_tracks, info.size, info.licence, download_advice(info))
        table.add_row(*(_unmarked(cell) for cell in cells))
    console().print(table)


def _unmarked(text: str) -> str:
    """`text` with brackets escaped, since rich would take [--part] for markup."""
    from rich.markup import escape

    return escape(text)


def _plain(info: DatasetInfo) -> dict[str, Any]:
    values = {one.name: getattr(info, one.name) for one in dataclasses.fields(info)}
    downloads = [dataclasses.asdict(one) for one in info.downloads]
    return values | {"checksums": dict(info.checksums), "downloads": downloads}
