"""`chorale champion history [NAME]`: all champions, the current one first."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from chorale.search.commands.champion_options import NAME_HELP, parse_champion_options
from chorale.search.commands.study_options import console

HELP = f"""\
usage: chorale champion history [NAME] [--json] [--runs FOLDER]

Lists all champions, the current one first: since when (UTC), which bundle and study, and why. A
bundle that retention removed is marked. {NAME_HELP}

  --json         print JSON
  --runs FOLDER  the folder of all studies (runs)
"""


def run(args: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    given = parse_champion_options(args, command="history", flags=["json"])
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
    if "json" in given.flags:
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
