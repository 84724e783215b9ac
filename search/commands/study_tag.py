"""`chorale study tag STUDY [TAG ...]`: the tags of a study."""

import click

from chorale.search.commands.command import command
from chorale.search.commands.console import console
from chorale.search.commands.study_options import StudyOptions, study_options


@command(
    examples=["chorale study tag my_study paper esc50", "chorale study tag my_study --remove paper"]
)
@click.option(
    "--remove", metavar="TAG,TAG", default="", help="Remove these tags, separated by commas."
)
@study_options()
@click.argument("tags", nargs=-1, metavar="[TAG ...]")
def run(given: StudyOptions, tags: tuple[str, ...], remove: str) -> int:
    """Adds tags to a study, and prints those that it has then.

    chorale list --tag TAG lists the studies with one. They are kept in RUNS/STUDY/notes.json, and
    may be changed while the study runs.
    """
    from chorale.search.ledger.notes import read_notes, with_tags, write_notes

    given.refuse_bucket("tagged")
    with given.open() as ledger:
        paths = given.runs.study(ledger.study(given.name).name)
    before = read_notes(paths)
    notes = with_tags(before, add=tags, remove=remove.split(",") if remove else [])
    if notes != before:
        write_notes(paths, notes)
    console().print(", ".join(notes.tags) or "no tags", markup=False, soft_wrap=True)
    return 0
