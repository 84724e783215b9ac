"""`chorale champion history [NAME]`: who was champion, the present one first."""

from collections.abc import Sequence

from chorale.search.commands.champion_words import ABOUT, champion_words
from chorale.search.commands.study_words import console

HELP = f"""\
usage: chorale champion history [NAME] [--runs FOLDER]

Lists all champions, the present one first: since when (UTC), which bundle and study, and why. A
bundle that retention removed is marked. {ABOUT}
"""


def run(words: Sequence[str]) -> int:
    """Runs the command; gives its exit code."""
    if any(word in ("-h", "--help") for word in words):
        print(HELP)
        return 0
    from rich import box
    from rich.table import Table

    given = champion_words(words, command="history")
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("since (UTC)", "bundle", "study", "why"):
        table.add_column(name, no_wrap=name in ("since (UTC)", "bundle"))
    for reign in reversed(given.shelf.history()):
        there = given.shelf.paths.bundle(reign.digest).manifest.is_file()
        digest = reign.digest[:12] + ("" if there else " (removed)")
        table.add_row(reign.since_utc, digest, reign.study, reign.reason)
    console().print(table, markup=False)
    return 0
