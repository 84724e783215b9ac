"""`chorale track champion [NAME]`: registers the champion in the tracker of its study."""

from collections.abc import Sequence

from chorale.search.commands.champion_options import NAME_HELP, parse_champion_options
from chorale.search.commands.study_options import console

HELP = f"""\
usage: chorale track champion [NAME] [--runs FOLDER]

Registers the champion's bundle as a version of the model NAME in the tracker that its study was
written to (the key `track` of its sweep file), and points the alias `champion` at it. Nights, and
chorale champion promote and rollback, do so by themselves; this is for when the tracker was away.
{NAME_HELP}
"""


def run(args: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    from chorale.datasets.errors import UserError
    from chorale.search.champion.tracking import track_champion

    given = parse_champion_options(args, command="track")
    lines = track_champion(given.runs, given.name)
    if not lines:
        raise UserError(
            f"the study of champion '{given.name}' has no tracker in its sweep file; write it with "
            f"`track: mlflow`, or resume it: chorale resume STUDY --track.uri URL"
        )
    for line in lines:
        console().print(line, markup=False, soft_wrap=True)
    return 0
