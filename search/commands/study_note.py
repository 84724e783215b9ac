"""`chorale study note STUDY [TEXT]`: a note on a study."""

from collections.abc import Sequence

from chorale.search.commands.study_options import StudyOptions, console, split_arguments

HELP = """\
usage: chorale study note STUDY [TEXT] [--clear] [--runs FOLDER] [--store URL]

Writes a note on a study, which chorale status shows; without TEXT, prints it. It is kept in
RUNS/STUDY/notes.json, and may be written while the study runs.

  --clear        removes the note
  --runs FOLDER  the folder of all studies (runs)
  --store URL    the ledger, where it is not in that folder
"""


def run(args: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    from dataclasses import replace

    from chorale.datasets.errors import UserError
    from chorale.search.ledger.notes import read_notes, write_notes

    words, options, flags = split_arguments(args, options=("runs", "store"), flags=("clear",))
    n_most = 1 if "clear" in flags else 2
    if not 1 <= len(words) <= n_most:
        what = "a study" if "clear" in flags else "a study and a text in quotes"
        raise UserError(
            f"expected {what}, but got {' '.join(words) or 'none'}; type: chorale study note STUDY "
            f"{'--clear' if 'clear' in flags else repr('TEXT')}"
        )
    given = StudyOptions(words[0], options, flags)
    given.refuse_bucket("annotated")
    with given.open() as ledger:
        paths = given.runs.study(ledger.study(words[0]).name)
    notes = read_notes(paths)
    if len(words) == 1 and "clear" not in flags:
        console().print(notes.note, markup=False, soft_wrap=True)
        return 0
    write_notes(paths, replace(notes, note="" if "clear" in flags else words[1]))
    return 0
