"""`chorale disk`: what takes how much space, and what removes it."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from chorale.search.commands.command import command
from chorale.search.commands.console import console
from chorale.search.commands.parameters import json_option
from chorale.search.commands.study_options import StudyOptions, ledger_options

if TYPE_CHECKING:
    from chorale.search.api.disk import SpaceUse


@command(examples=["chorale disk", "chorale disk --json"])
@json_option
@ledger_options
def run(given: StudyOptions, as_json: bool) -> int:
    """Lists what takes how much space in the folder of all studies, the largest first.

    Beside it is the command that removes it. It removes nothing itself. JSON is in bytes.
    """
    from chorale.search.api.disk import space_used

    given.refuse_bucket("measured")
    with given.open() as ledger:
        found = sorted(space_used(given.runs, ledger), key=lambda one: -one.n_bytes)
    total = sum(one.n_bytes for one in found)
    if as_json:
        print(json.dumps({"n_bytes": total, "parts": [asdict(one) for one in found]}, indent=2))
        return 0
    _show(found, total)
    return 0


def _show(found: Sequence["SpaceUse"], total: int) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("", overflow="fold")
    table.add_column("MB", justify="right", no_wrap=True)
    table.add_column("removed by", overflow="fold")
    for one in found:
        command = f"chorale {one.remove}" if one.remove else ""
        table.add_row(escape(one.what), f"{one.n_bytes / 1e6:,.1f}", escape(command))
    table.add_section()
    table.add_row("all", f"{total / 1e6:,.1f}", "")
    console().print(table)
