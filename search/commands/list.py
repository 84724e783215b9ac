"""`chorale list`: all studies of a ledger."""

import json
from typing import Any

import click

from chorale.search.api.study import study_about
from chorale.search.commands.command import command
from chorale.search.commands.console import console
from chorale.search.commands.parameters import json_option
from chorale.search.commands.study_options import STUDY_STYLES, StudyOptions, ledger_options
from chorale.search.ledger.trials_summary import trials_summary


@command(examples=["chorale list", "chorale list --tag paper --json"])
@click.option("--tag", metavar="TAG", help="Only studies with this tag (chorale study tag).")
@json_option
@ledger_options
def run(given: StudyOptions, tag: str | None, as_json: bool) -> int:
    """Lists every study, the newest first.

    Shown are its state, dataset, trials by final state, best trial, and tags.
    """
    from chorale.datasets.errors import unknown_name_error
    from chorale.search.ledger.notes import read_notes

    with given.open() as ledger:
        every = [(one, read_notes(given.runs.study(one.name))) for one in ledger.all_studies()]
        if tag is not None:
            known = sorted({name for _, notes in every for name in notes.tags})
            if tag not in known:
                raise unknown_name_error("tag", tag, known or ["(none yet)"])
            every = [(one, notes) for one, notes in every if tag in notes.tags]
        found = [
            {
                "study": one.name,
                "state": one.state,
                "created_utc": one.created_utc,
                "spent_s": one.spent_s,
                "tags": list(notes.tags),
                "note": notes.note,
                "dataset": (about := study_about(one, given.runs.study(one.name))).get("dataset"),
                **trials_summary(
                    ledger.rows(one.name, "search"), about.get("objective") or "accuracy"
                ),
            }
            for one, notes in every
        ]
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        _show(found)
    return 0


def _show(found: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from chorale.search.console.progress import duration_text

    if not found:
        console().print("There is no study yet; start one with: chorale sweep")
        return
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("study", "state", "dataset", "trials", "pruned", "failed", "best", "spent"):
        number = name in ("trials", "pruned", "failed", "spent")
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    table.add_column("created (UTC)", no_wrap=True)
    has_tags = any(one["tags"] for one in found)
    if has_tags:
        table.add_column("tags", overflow="fold")
    for one in found:
        ended, best = one["trials"], one["best"]
        shown = ""
        if best:
            shown = f"{best['value']:.3f} {one['objective']} ({best['architecture']})"
        table.add_row(
            escape(one["study"]),
            STUDY_STYLES[one["state"]],
            escape(str(one["dataset"] or "")),
            str(sum(ended.values())),
            str(ended["pruned"]),
            str(ended["failed"]),
            escape(shown),
            duration_text(one["spent_s"]),
            one["created_utc"][:16].replace("T", " "),
            *([escape(", ".join(one["tags"]))] if has_tags else []),
        )
    console().print(table)
