"""`chorale leaderboard STUDY`: the trials of a study, best first."""

import json
import sys
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chorale.search.api.study import Study
from chorale.search.commands.command import command, require
from chorale.search.commands.console import console
from chorale.search.commands.output_file import require_writable
from chorale.search.commands.parameters import FILE, WholeNumber, flag
from chorale.search.commands.study_options import StudyOptions, study_options

if TYPE_CHECKING:
    from chorale.search.report.leaderboard import LeaderboardRow

STDOUT = Path("-")


@command(examples=["chorale leaderboard my_study --top 10", "chorale leaderboard my_study --csv -"])
@click.option("--top", type=WholeNumber(1), metavar="N", help="Only the N best.")
@flag("--json", "Print JSON, with every column and parameter.", name="as_json")
@click.option(
    "--csv",
    type=FILE,
    metavar="FILE",
    help="Write every column and parameter as CSV to a file, or with - to standard output.",
)
@study_options()
def run(given: StudyOptions, top: int | None, as_json: bool, csv: Path | None) -> int:
    """Shows the trials of a study, best first, also while it runs.

    Where the study has a second objective, the trials of the Pareto front are marked with *.
    """
    from chorale.datasets.atomic import write_text
    from chorale.search.report.leaderboard import to_csv

    require(
        csv is None or not as_json,
        "--csv and --json are two formats of the same rows; leave one of them out",
    )
    if csv is not None and csv != STDOUT:
        require_writable(csv, option="--csv")
    study = Study(given.name, given.runs.root, given.store)
    lines = study.leaderboard_rows()[:top]
    if as_json:
        print(json.dumps([_finite(line) for line in lines], indent=2))
        return 0
    if csv == STDOUT:
        sys.stdout.write(to_csv(lines))
        return 0
    if csv is not None:
        write_text(csv, to_csv(lines))
    about = study.about()
    _show(lines, about.get("objective") or "accuracy", about.get("second") or "none")
    with study.open() as ledger:
        n_running = ledger.n_running(given.name)
    if n_running:
        console().print(f"{n_running} more {'is' if n_running == 1 else 'are'} unfinished.")
    return 0


def _finite(line: Mapping[str, Any]) -> dict[str, Any]:
    """The row with null in place of values that JSON does not have: NaN and infinity."""
    broken = {key for key, one in line.items() if isinstance(one, float) and not isfinite(one)}
    return {key: None if key in broken else one for key, one in line.items()}


def _show(lines: Sequence["LeaderboardRow"], objective: str, second: str) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    from chorale.search.console.progress import STATE_COLOURS, STATE_WORDS

    if not lines:
        console().print("No trial has ended yet.")
        return
    table = Table(box=box.SIMPLE_HEAD)
    columns = ["trial", "state", "architecture", "features", objective, "folds", "epochs", "s"]
    if second != "none":
        columns.insert(5, second)
    for column in columns:
        left = column in ("state", "architecture", "features")
        table.add_column(column, justify="left" if left else "right", no_wrap=True)
    table.add_column("parameters, or why it failed")
    for line in lines:
        state = f"[{STATE_COLOURS[line['state']]}]{STATE_WORDS[line['state']]}[/]"
        cells = [f"{'*' if line.get('front') else ''}{line['trial']}", state]
        cells += [escape(str(line[key] or "")) for key in ("architecture", "features")]
        cells += [_text(line.get(f"validation_{objective}"), 3)]
        cells += [_text(line.get(second, line.get(f"validation_{second}")), 3)] * (second != "none")
        cells += [_text(line["folds_accuracy"], 3), _text(line["epoch"], 0)]
        cells += [_text(line["elapsed_s"], 1)]
        details = line["reason"] if line["state"] == "FAIL" else _params(line)
        table.add_row(*cells, Text(details, no_wrap=True, overflow="ellipsis"))
    console().print(table)
    if second != "none":
        console().print(f"* no other trial beats it in both {objective} and {second}")


def _params(line: Mapping[str, Any]) -> str:
    """The parameters, which follow the column `reason`, in short form."""
    names = list(line)
    owner = f"{line['architecture']}."
    return " ".join(
        f"{name.removeprefix(owner)}={_text(line[name], 4)}"
        for name in names[names.index("reason") + 1 :]
        if name not in ("architecture", "features")
    )


def _text(value: Any, digits: int) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.{digits}f}" if digits < 4 else f"{value:.3g}"
    return str(value)
