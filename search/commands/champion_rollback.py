"""`chorale champion rollback [NAME]`: brings the champion back that was there before."""

from collections.abc import Sequence

from chorale.search.commands.champion_words import ABOUT, champion_words
from chorale.search.commands.study_words import console

HELP = f"""\
usage: chorale champion rollback [NAME] [--reason TEXT] [--runs FOLDER]

Makes the champion before the present one champion again. {ABOUT}
"""


def run(words: Sequence[str]) -> int:
    """Runs the command; gives its exit code."""
    if any(word in ("-h", "--help") for word in words):
        print(HELP)
        return 0
    given = champion_words(words, command="rollback", options=["reason"])
    reign = given.shelf.rollback(given.options.get("reason", "rolled back by hand"))
    console().print(f"{reign.study} is champion '{given.name}' again ({reign.digest[:12]})")
    return 0
