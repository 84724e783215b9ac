"""`chorale champion history [NAME]`: all champions, the current one first."""

from collections.abc import Sequence

from chorale.search.commands.champion_options import NAME_HELP, parse_champion_options
from chorale.search.commands.study_options import console

HELP = f"""\
usage: chorale champion history [NAME] [--runs FOLDER]

Lists all champions, the current one first: since when (UTC), which bundle and study, and why. A
bundle that retention removed is marked. {NAME_HELP}
"""


def run(args: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    from rich import box
    from rich.table import Table

    given = parse_champion_options(args, command="history")
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("since (UTC)", "bundle", "study", "why"):
        table.add_column(name, no_wrap=name in ("since (UTC)", "bundle"))
    for period in reversed(given.registry.history()):
        exists = given.registry.paths.bundle(period.digest).manifest.is_file()
        digest = period.digest[:12] + ("" if exists else " (removed)")
        table.add_row(period.since_utc, digest, period.study, period.reason)
    console().print(table, markup=False)
    return 0
