"""`chorale list [--runs FOLDER] [--store URL] [--json]`: all studies of a ledger."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from chorale.search.commands.study_words import about, console, study_words

HELP = """\
usage: chorale list [--runs FOLDER] [--store URL] [--json]

Lists every study, the newest first: its state, its dataset, how its trials ended and the best one.

  --runs FOLDER  the folder of all studies (runs)
  --store URL    the ledger, where it is not in that folder
  --json         the same for other programs
"""


def run(words: Sequence[str]) -> int:
    """Runs the command; gives its exit code."""
    if any(word in ("-h", "--help") for word in words):
        print(HELP)
        return 0
    from chorale.datasets.errors import UserError

    given = study_words(words, flags=["json"])
    if given.study is not None:
        raise UserError(
            f"chorale list takes no name; of one study says more: chorale status {given.study}"
        )
    ledger = given.open()
    try:
        found = [
            {
                "study": one.name,
                "state": one.state,
                "created_utc": one.created_utc,
                "spent_s": one.spent_s,
                "dataset": (told := about(one, given.runs.study(one.name))).get("dataset"),
                **summary(ledger.rows(one.name, "search"), told.get("objective") or "accuracy"),
            }
            for one in ledger.all_studies()
        ]
    finally:
        ledger.close()
    if "json" in given.flags:
        print(json.dumps(found, indent=2))
    else:
        _show(found)
    return 0


def summary(rows: Any, objective: str) -> dict[str, Any]:
    """How the trials of a study ended, and the best: its number, architecture and value."""
    counts = Counter(row.state for row in rows.values())
    whole = [row for row in rows.values() if row.state == "COMPLETE"]
    best = max(whole, key=lambda row: row.facts["metrics"][objective], default=None)
    return {
        "trials": {
            "complete": counts["COMPLETE"],
            "pruned": counts["PRUNED"],
            "failed": counts["FAIL"],
        },
        "objective": objective,
        "best": None
        if best is None
        else {
            "trial": int(best.key),
            "architecture": best.facts.get("architecture"),
            "value": best.facts["metrics"][objective],
        },
    }


def _show(found: list[dict[str, Any]]) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from chorale.search.console.progress import duration

    if not found:
        console().print("There is no study yet; start one with: chorale sweep")
        return
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("study", "state", "dataset", "trials", "pruned", "failed", "best", "spent"):
        number = name in ("trials", "pruned", "failed", "spent")
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    table.add_column("created (UTC)", no_wrap=True)
    for one in found:
        ended, best = one["trials"], one["best"]
        said = ""
        if best:
            said = f"{best['value']:.3f} {one['objective']} ({best['architecture']})"
        table.add_row(
            escape(one["study"]),
            STYLES[one["state"]],
            escape(str(one["dataset"] or "")),
            str(sum(ended.values())),
            str(ended["pruned"]),
            str(ended["failed"]),
            escape(said),
            duration(one["spent_s"]),
            one["created_utc"][:16].replace("T", " "),
        )
    console().print(table)


STYLES = {
    "running": "[green]running[/]",
    "interrupted": "[yellow]interrupted[/]",
    "complete": "complete",
}
"""A study's state as it is shown."""
