"""`chorale champion rollback [NAME]`: restores the previous champion."""

import click

from chorale.search.commands.champion_options import ChampionOptions, champion_options
from chorale.search.commands.command import command
from chorale.search.commands.console import console


@command(
    examples=["chorale champion rollback", "chorale champion rollback music --reason 'too slow'"]
)
@click.option(
    "--reason", default="rolled back by hand", metavar="TEXT", help="A sentence for the history."
)
@champion_options
def run(given: ChampionOptions, reason: str) -> int:
    """Makes the previous champion the champion again."""
    from chorale.search.champion.tracking import track_or_explain

    period = given.registry.rollback(reason)
    again = f"{period.study} is champion '{given.name}' again ({period.digest[:12]})"
    console().print(again, markup=False)
    for line in track_or_explain(given.runs, given.name):
        console().print(line, markup=False, soft_wrap=True)
    return 0
