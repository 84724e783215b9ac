"""The summary of a study on the terminal: a table of ensembles and baselines, and a sentence."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from chorale.search.console.progress import durations_text
from chorale.search.evaluation.member_names import baseline_features, list_seeds
from chorale.search.paths import StudyPaths
from chorale.search.report.report import headline_sentence
from chorale.search.statistics.main_score import main_score_of, metric_name

MAX_MEMBERS_SHOWN = 4
"""Members of an ensemble that are named; the others are counted."""

MAX_NAME_SHOWN = 24
"""A longer name of a member is only counted."""

COLUMN_GAP = 3
"""Blanks between two columns of the table."""

COLUMNS = (
    "", "test", "95 % CI", "out-of-fold", "ensemble's gain", "validation", "macro-F1", "members",
)  # fmt: skip
"""The most important one first: on a narrow terminal the last ones are left out."""


def print_summary(report: Mapping[str, Any], console: Console, *, folder: str) -> None:
    """Prints the scores of all ensembles and baselines, and the test score in a sentence."""
    scored = ", mAP" if metric_name(report["ensemble"]["test"]) == "mAP" else ""
    ensembles = [_ensemble_cells(report, kind) for kind in report["ensembles"]]
    baselines = [_baseline_cells(report, name) for name in report["baselines"]]
    n_columns = _n_fitting([COLUMNS, *ensembles, *baselines], console.width)
    table = Table(
        title=f"study {report['study']}{scored}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    for name in COLUMNS[:n_columns]:
        table.add_column(name, justify="left" if name == "" else "right", no_wrap=True)
    for cells in ensembles:
        style = "bold" if cells[0] == report["ensemble"]["kind"] else ""
        table.add_row(*cells[:n_columns], style=style)
    table.add_section()
    for cells in baselines:
        table.add_row(*cells[:n_columns], style="dim")
    console.print(table)
    if left_out := COLUMNS[n_columns:]:
        console.print(f"A wider terminal also shows: {', '.join(left_out)}.", highlight=False)
    if made := report.get("baselines_made"):
        lines = "; ".join([baseline_features(made), *made["left_out"]]) + "."
        console.print(lines, soft_wrap=True, highlight=False, markup=False)
    if seeds := list_seeds(report.get("seeds", {})):  # missing in older versions
        console.print(f"Finalists: {seeds}.", soft_wrap=True, highlight=False, markup=False)
    console.print(headline_sentence(report), highlight=False, markup=False)
    if stages_s := report.get("cost", {}).get("stages_s"):  # missing in older versions
        console.print(f"Time: {durations_text(stages_s)}.", highlight=False, markup=False)
    page_file = StudyPaths(Path(folder)).report_html
    if page_file.is_file():
        console.print(f"Read it in a browser: {page_file}", markup=False, soft_wrap=True)
    console.print(
        f"Everything is in {folder}; TensorBoard: tensorboard --logdir {folder}",
        markup=False,
        soft_wrap=True,
    )


def _n_fitting(rows: Sequence[Sequence[str]], width: int) -> int:
    """How many of the columns fit into `width`; at least the name and the test score."""
    needed = 0
    for n, column in enumerate(zip(*rows, strict=True)):
        needed += max(map(len, column)) + COLUMN_GAP
        if needed > width:
            return max(n, 2)
    return len(rows[0])


def _ensemble_cells(report: Mapping[str, Any], kind: str) -> tuple[str, ...]:
    """In the order of `COLUMNS`."""
    one = report["ensembles"][kind]
    test, interval, out_of_fold, macro_f1 = _score_cells(one)
    members, gain = _list_members(one["members"]), _gain(report, kind)
    return (kind, test, interval, out_of_fold, gain, _percent(one["validation"]), macro_f1, members)


def _baseline_cells(report: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """In the order of `COLUMNS`."""
    test, interval, out_of_fold, macro_f1 = _score_cells(report["baselines"][name])
    return (name, test, interval, out_of_fold, _gain(report, name), "", macro_f1, "")


def _list_members(members: Sequence[int | str]) -> str:
    """The numbers of the first `MAX_MEMBERS_SHOWN` trials, and how many baselines."""
    trials = [str(member) for member in members if not isinstance(member, str)]
    baselines = [member for member in members if isinstance(member, str)]
    more = len(trials) - MAX_MEMBERS_SHOWN
    shown = ", ".join(trials[:MAX_MEMBERS_SHOWN]) + (f" and {more} more" if more > 0 else "")
    also = f"{len(baselines)} baselines"
    if len(baselines) == 1:
        also = baselines[0] if len(baselines[0]) <= MAX_NAME_SHOWN else "1 baseline"
    return " + ".join(filter(None, [shown, also if baselines else ""]))


def _score_cells(one: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Test score, its interval, out-of-fold score, macro-F1."""
    low, high = one["test"]["ci95"]
    return (
        _percent(one["test"]),
        f"{low:.1%} - {high:.1%}",
        _percent(one["out_of_fold"]),
        f"{one['test']['macro_f1']:.3f}",
    )


def _gain(report: Mapping[str, Any], name: str) -> str:
    """The chosen ensemble's test score minus that of `name`, in points, with its 95 % CI."""
    gain = report["gains"].get(name)
    if gain is None or name == report["ensemble"]["kind"]:
        return ""
    low, high = (100 * end for end in gain["ci95"])
    return f"{100 * gain['difference']:+.1f} ({low:+.0f} to {high:+.0f})"


def _percent(scores: Mapping[str, Any]) -> str:
    return f"{main_score_of(scores):.1%}"
