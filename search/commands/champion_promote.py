"""`chorale champion promote STUDY`: makes a study's ensemble the champion, by a person's word."""

from collections.abc import Sequence

from chorale.search.commands.champion_words import known_champions
from chorale.search.commands.study_words import console, study_words

HELP = """\
usage: chorale champion promote STUDY [--as NAME] [--reason TEXT] [--runs FOLDER] [--store URL]

Packs the ensemble of a finished study and makes it the champion, without asking the gate. It
becomes so wholly or not at all; who was champion before can be brought back by rollback.

  --as NAME      which champion (the only one that there is, or else the study's name)
  --reason TEXT  a sentence for the history
"""


def run(words: Sequence[str]) -> int:
    """Runs the command; gives its exit code."""
    if any(word in ("-h", "--help") for word in words):
        print(HELP)
        return 0
    from chorale.search.champion.registry.registry import Shelf
    from chorale.search.commands.export import packed

    given = study_words(words, options=["as", "reason"])
    study = given.named("champion promote")
    known = known_champions(given.runs)
    name = given.options.get("as") or (known[0] if len(known) == 1 else study)
    shelf = Shelf(given.runs.champion(name))
    before = shelf.history()
    bundle = packed(given, study)
    expected = before[-1].digest if before else None
    if bundle.digest == expected:
        console().print(f"{study} is champion '{name}' already ({bundle.digest[:12]})")
        return 0
    reason = given.options.get("reason", "promoted by hand")
    reign = shelf.promote(bundle, expected=expected, reason=reason)
    old = f"; before it {before[-1].study} was" if before else ""
    console().print(f"{study} is champion '{name}' since {reign.since_utc}{old}")
    return 0
