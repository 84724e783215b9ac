"""`chorale leaderboard STUDY [--top N] [--csv FILE]`: the trials of a study, best first."""

import json
import sys
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chorale.search.api.study import Study
from chorale.search.commands.output_file import require_writable
from chorale.search.commands.study_options import console, parse_study_options

if TYPE_CHECKING:
    from chorale.search.report.leaderboard import LeaderboardRow

HELP = """\
usage: chorale leaderboard STUDY [--top N] [--csv FILE | --json] [--runs FOLDER] [--store URL]

Shows the trials of a study, best first, also while it runs. Where the study has a second objective,
the trials of the Pareto front are marked with *.

  --top N        only the N best
  --json         print JSON, with every column and parameter
  --csv FILE     writes every column and parameter as CSV to a file, or with - to standard output
  --runs FOLDER  the folder of all studies (runs)
  --store URL    the ledger, where it is not in that folder
"""


def run(args: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    from chorale.datasets.atomic import write_text
    from chorale.datasets.errors import UserError
    from chorale.search.report.leaderboard import to_csv

    given = parse_study_options(args, options=["top", "csv"], flags=["json"])
    top, csv = _number(given.options.get("top")), given.options.get("csv")
    if csv is not None and "json" in given.flags:
        raise UserError("--csv and --json are two formats of the same rows; leave one of them out")
    file = None
    if csv is not None and csv != "-":
        file = require_writable(Path(csv), option="--csv")
    name = given.require_name("leaderboard")
    study = Study(name, given.runs.root, given.options.get("store"))
    lines = study.leaderboard_rows()[:top]
    if "json" in given.flags:
        print(json.dumps([_finite(line) for line in lines], indent=2))
        return 0
    if csv == "-":
        sys.stdout.write(to_csv(lines))
        return 0
    if file is not None:
        write_text(file, to_csv(lines))
    about = study.about()
    _show(lines, about.get("objective") or "accuracy", about.get("second") or "none")
    with study.open() as ledger:
        n_running = ledger.n_running(name)
    if n_running:
        console().print(f"{n_running} more {'is' if n_running == 1 else 'are'} unfinished.")
    return 0


def _finite(line: Mapping[str, Any]) -> dict[str, Any]:
    """The row with null in place of values that JSON does not have: NaN and infinity."""
    broken = {key for key, one in line.items() if isinstance(one, float) and not isfinite(one)}
    return {key: None if key in broken else one for key, one in line.items()}


def _number(text: str | None) -> int | None:
    from chorale.datasets.errors import UserError

    if text is None:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"--top should be a whole number of 1 or more, but got '{text}'")
    return int(text)


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
