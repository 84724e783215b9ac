"""`chorale track champion [NAME]`: registers the champion in the tracker of its study."""

from chorale.search.commands.champion_options import ChampionOptions, champion_options
from chorale.search.commands.command import command
from chorale.search.commands.console import console


@command(examples=["chorale track champion", "chorale track champion music"])
@champion_options
def run(given: ChampionOptions) -> int:
    """Registers the champion's bundle as a version of the model NAME in the tracker of its study.

    That is the tracker that the study was written to (the key track of its sweep file); the alias
    champion is pointed at the version. Nights, and chorale champion promote and rollback, do so by
    themselves; this is for when the tracker was away.
    """
    from chorale.datasets.errors import UserError
    from chorale.search.champion.tracking import track_champion

    lines = track_champion(given.runs, given.name)
    if not lines:
        raise UserError(
            f"the study of champion '{given.name}' has no tracker in its sweep file; write it with "
            f"`track: mlflow`, or resume it: chorale resume STUDY --track.uri URL"
        )
    for line in lines:
        console().print(line, markup=False, soft_wrap=True)
    return 0
