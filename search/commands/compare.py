"""`chorale compare STUDY STUDY ...`: finished studies on their common test tracks."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chorale.search.commands.command import command, require
from chorale.search.commands.console import console
from chorale.search.commands.output_file import require_writable
from chorale.search.commands.parameters import FILE, StudyName, json_option
from chorale.search.commands.study_options import StudyOptions, ledger_options

if TYPE_CHECKING:
    from chorale.search.comparison.comparison import StudyComparison

MAX_SETTINGS_SHOWN = 40


@command(examples=["chorale compare monday tuesday", "chorale compare a b c --html compared.html"])
@click.argument("studies", nargs=-1, type=StudyName(), metavar="STUDY STUDY ...")
@click.option(
    "--html", type=FILE, metavar="FILE", help="Also write a page for a browser, with charts."
)
@json_option
@ledger_options
def run(given: StudyOptions, studies: tuple[str, ...], html: Path | None, as_json: bool) -> int:
    """Compares finished studies on the test tracks that they have in common.

    Shown are the score of each ensemble, the difference of every two with its 95 % interval, paired
    by track and by group, and the settings that differ. Test tracks of a group that only some of
    the studies were trained on do not count. Nothing is trained or predicted again.
    """
    require(
        len(studies) >= 2 and len(set(studies)) == len(studies),
        f"expected the names of two or more different studies, but got "
        f"{' '.join(studies) or 'none'}; type: chorale compare STUDY STUDY (chorale list shows "
        f"them all)",
    )
    if html is not None:
        require_writable(html, option="--html")
    with given.open() as ledger:
        for name in studies:
            ledger.study(name)  # refused before anything heavy is imported
        from chorale.search.comparison.comparison import compare_studies
        from chorale.search.comparison.scored_study import read_scored_study

        scored = [read_scored_study(ledger, name, given.runs.study(name)) for name in studies]
    comparison = compare_studies(scored)
    if html is not None:
        from chorale.datasets.atomic import write_text
        from chorale.search.comparison.page import render_comparison

        write_text(html, render_comparison(comparison))
    if as_json:
        print(json.dumps(comparison.as_json(), indent=2))
        return 0
    _show(comparison)
    if html is not None:
        console().print(f"Read it in a browser: {html}", markup=False, soft_wrap=True)
    return 0


def _show(comparison: "StudyComparison") -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from chorale.search.comparison.comparison import caution_lines, pair_sentence

    title = f"{len(comparison.tracks.ids)} common test tracks in {comparison.n_groups_text}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    columns = ("study", comparison.metric, "95 % CI", "own test set", "ensemble", "dataset")
    for name in (*columns, "trials", "time"):
        left = name in ("study", "ensemble", "dataset")
        table.add_column(name, justify="left" if left else "right", overflow="fold")
    for one in comparison.summaries:
        table.add_row(*map(escape, _cells(one)))
    console().print(table)
    for pair in comparison.pairs:
        line = pair_sentence(pair)
        console().print(f"{line[0].upper()}{line[1:]}.", markup=False, soft_wrap=True)
    _show_settings(comparison)
    for line in caution_lines(comparison):
        console().print(line, markup=False, soft_wrap=True, style="dim")


def _cells(one: Any) -> list[str]:
    from chorale.search.console.progress import duration_text
    from chorale.search.statistics.main_score import main_score_of

    low, high = one["common"]["ci95"]
    return [
        one["study"],
        f"{main_score_of(one['common']):.1%}",
        f"{low:.1%} to {high:.1%}",
        f"{main_score_of(one['test']):.1%} of {one['test']['n']}",
        one["ensemble"],
        f"{one['dataset'] or ''}, {one['n_tracks'] or '?'} tracks",
        str(sum(one["trials"].values())),
        "" if one["wall_s"] is None else duration_text(one["wall_s"]),
    ]


def _show_settings(comparison: "StudyComparison") -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    if not comparison.settings:
        console().print("The studies have the same settings.")
        return
    table = Table(title="settings that differ", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("key", *comparison.names):
        table.add_column(escape(name), overflow="fold")
    shown = list(comparison.settings.items())[:MAX_SETTINGS_SHOWN]
    for key, values in shown:
        table.add_row(escape(key), *map(escape, values))
    console().print(table)
    if len(comparison.settings) > len(shown):
        n_more = len(comparison.settings) - len(shown)
        console().print(f"and {n_more} more settings, which --json and --html list")
