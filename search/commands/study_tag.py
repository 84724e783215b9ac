"""`chorale study tag STUDY [TAG ...] [--remove TAG,TAG]`: the tags of a study."""

from collections.abc import Sequence

from chorale.search.commands.study_options import StudyOptions, console, split_arguments

HELP = """\
usage: chorale study tag STUDY [TAG ...] [--remove TAG,TAG] [--runs FOLDER] [--store URL]

Adds tags to a study, and prints those that it has then; chorale list --tag TAG lists the studies
with one. They are kept in RUNS/STUDY/notes.json, and may be changed while the study runs.

  --remove TAGS  removes these tags, separated by commas
  --runs FOLDER  the folder of all studies (runs)
  --store URL    the ledger, where it is not in that folder
"""


def run(args: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    from chorale.datasets.errors import UserError
    from chorale.search.ledger.notes import read_notes, with_tags, write_notes

    words, options, flags = split_arguments(args, options=("runs", "store", "remove"))
    if not words:
        raise UserError("expected the name of a study; type: chorale study tag STUDY TAG")
    given = StudyOptions(words[0], options, flags)
    removed = options["remove"].split(",") if "remove" in options else []
    given.refuse_bucket("tagged")
    with given.open() as ledger:
        paths = given.runs.study(ledger.study(words[0]).name)
    before = read_notes(paths)
    notes = with_tags(before, add=words[1:], remove=removed)
    if notes != before:
        write_notes(paths, notes)
    console().print(", ".join(notes.tags) or "no tags", markup=False, soft_wrap=True)
    return 0
