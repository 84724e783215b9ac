"""`chorale study note STUDY [TEXT]`: a note on a study."""

from dataclasses import replace

import click

from chorale.search.commands.command import command, require
from chorale.search.commands.console import console
from chorale.search.commands.parameters import flag
from chorale.search.commands.study_options import StudyOptions, study_options


@command(
    examples=[
        "chorale study note my_study 'the first with encoders'",
        "chorale study note my_study",
    ]
)
@flag("--clear", "Remove the note.")
@study_options()
@click.argument("text", required=False)
def run(given: StudyOptions, text: str | None, clear: bool) -> int:
    """Writes a note on a study, which chorale status shows; without TEXT, prints it.

    It is kept in RUNS/STUDY/notes.json, and may be written while the study runs.
    """
    from chorale.search.ledger.notes import read_notes, write_notes

    require(
        text is None or not clear,
        f"--clear removes the note, but got a text, too; type: chorale study note {given.name} "
        f"--clear",
    )
    given.refuse_bucket("annotated")
    with given.open() as ledger:
        paths = given.runs.study(ledger.study(given.name).name)
    notes = read_notes(paths)
    if text is None and not clear:
        console().print(notes.note, markup=False, soft_wrap=True)
        return 0
    write_notes(paths, replace(notes, note=text or ""))
    return 0
