"""`chorale champion history [NAME]`: all champions, the current one first."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from chorale.search.commands.champion_options import ChampionOptions, champion_options
from chorale.search.commands.command import command
from chorale.search.commands.console import console
from chorale.search.commands.parameters import json_option


@command(examples=["chorale champion history", "chorale champion history music --json"])
@json_option
@champion_options
def run(given: ChampionOptions, as_json: bool) -> int:
    """Lists all champions, the current one first.

    Shown are since when (UTC), which bundle and study, and why. A bundle that retention removed is
    marked.
    """
    found = [
        {
            "since_utc": period.since_utc,
            "bundle": period.digest,
            "exists": given.registry.paths.bundle(period.digest).manifest.is_file(),
            "study": period.study,
            "reason": period.reason,
        }
        for period in reversed(given.registry.history())
    ]
    if as_json:
        print(json.dumps(found, indent=2))
        return 0
    _show(found)
    return 0


def _show(found: Sequence[Mapping[str, Any]]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for name in ("since (UTC)", "bundle", "study", "why"):
        table.add_column(name, no_wrap=name in ("since (UTC)", "bundle"))
    for one in found:
        digest = one["bundle"][:12] + ("" if one["exists"] else " (removed)")
        table.add_row(one["since_utc"], digest, one["study"], one["reason"])
    console().print(table, markup=False)
