"""What can be done with a finished study, as commands that work as they stand."""

import dataclasses
import shlex
from typing import TYPE_CHECKING

from chorale.search.config.schema import BudgetConfig, SweepConfig

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

BUDGETS = ("minutes", "core_hours", "gpu_hours")
"""The limits of a budget that can be doubled, beside the number of trials."""


def print_next_steps(sweep: SweepConfig, console: "Console") -> None:
    """Prints a line for each step: the commands, and after # what they do."""
    console.print("Next:", highlight=False)
    for command, text in next_steps(sweep):
        console.print(f"  {command}   # {text}", highlight=False, markup=False, soft_wrap=True)


def next_steps(sweep: SweepConfig) -> list[tuple[str, str]]:
    """Commands, with what they do. Studies without recordings can neither predict nor serve."""
    name = shlex.quote(sweep.name)
    where = "" if sweep.runs == "runs" else f" --runs {shlex.quote(sweep.runs)}"
    where += "" if sweep.store is None else f" --store {shlex.quote(sweep.store)}"
    steps = [(f"chorale report {name} --open{where}", "look at it in a browser")]
    if (file := _recording(sweep)) is not None:
        bundle = shlex.quote(str(sweep.paths.bundle.root))
        serve = f"chorale export {name}{where} && chorale serve {bundle}"
        steps += [
            (f"chorale predict {shlex.quote(str(file))} --study {name}{where}", "classify a file"),
            (serve, "a page for uploads, and an HTTP API"),
        ]
    steps.append((f"chorale resume {name} {_more(sweep.budget)}{where}", "search on"))
    return steps


def _recording(sweep: SweepConfig) -> "Path | None":
    """The file of one of its tracks; None where it has none."""
    from chorale.search.report.data.audio import read_audio_paths

    files = read_audio_paths(sweep.paths.audio_json) or {}
    return next((file for file in files.values() if file.is_file()), None)


def _more(budget: BudgetConfig) -> str:
    """The options that double a budget."""
    given = {
        name: value for name, value in dataclasses.asdict(budget).items()
        if name in BUDGETS and value is not None
    }  # fmt: skip
    if budget.trials is not None or not given:
        given["trials"] = budget.n_trials
    return " ".join(f"--budget.{name} {2 * value:g}" for name, value in given.items())
