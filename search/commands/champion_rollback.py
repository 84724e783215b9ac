"""`chorale champion rollback [NAME]`: restores the previous champion."""

from collections.abc import Sequence

from chorale.search.commands.champion_options import NAME_HELP, parse_champion_options
from chorale.search.commands.study_options import console

HELP = f"""\
usage: chorale champion rollback [NAME] [--reason TEXT] [--runs FOLDER]

Makes the previous champion the champion again. {NAME_HELP}
"""


def run(args: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    from chorale.search.champion.tracking import track_or_explain

    given = parse_champion_options(args, command="rollback", options=["reason"])
    period = given.registry.rollback(given.options.get("reason", "rolled back by hand"))
    again = f"{period.study} is champion '{given.name}' again ({period.digest[:12]})"
    console().print(again, markup=False)
    for line in track_or_explain(given.runs, given.name):
        console().print(line, markup=False, soft_wrap=True)
    return 0
