"""`chorale data check NAME [--key value] [--csv FILE]`: all that is wrong with the data."""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from chorale.search.config.schema import SweepConfig

HELP = """\
usage: chorale data check NAME [--key value ...] [--csv FILE]

Listens to every track of a dataset and lists all that is wrong with it, by path and reason, without
training anything: files that are broken, silent, too short, clipped or misnamed, the same recording
in several files or under two labels, and what its split would let through. NAME is a dataset, a
sweep file, or a shipped sweep. Exits with 0 where nothing is wrong, else with 1.
Datasets: chorale data list

  --key value   sets a key of the dataset (--root FOLDER) or of the sweep (--split.test 0.3)
  --csv FILE    also writes the table there

  chorale data check fsdd --root fsdd.zip
"""

COLOURS = {"stops the sweep": "red", "quarantined": "yellow"}


def run(words: Sequence[str]) -> int:
    """Runs the command; gives its exit code."""
    if any(word in ("-h", "--help") for word in words):
        print(HELP)
        return 0
    from rich.console import Console

    from chorale.datasets.atomic import write_text
    from chorale.search.commands.sweep_words import named_sweep
    from chorale.search.console.progress import Progress

    named = named_sweep(words, command="data check", own=["csv"])
    csv = named.own.get("csv")
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    with Progress(console).never_silent("data check"):
        found = check(named.sweep, where=named.where, console=console)
    if csv is not None:
        write_text(Path(str(csv)), found.to_csv(index=False))
    return 1 if len(found) else 0


def check(sweep: "SweepConfig", *, where: str, console: "Console") -> "pd.DataFrame":
    """Looks at the data of a sweep, shows all that is wrong, and gives it as `faults.table` does.

    Raises:
        UserError, ClusterError: the data is not there, or the sweep file has problems.
    """
    from chorale.search.config.resolve import resolve
    from chorale.search.console.progress import Progress
    from chorale.search.data.tracks import read_tracks

    resolved = resolve(sweep, where=where)
    progress = Progress(console)
    tracks = read_tracks(resolved, progress)
    # Imported now that the tracks are there: these bring what recordings are decoded with.
    from chorale.datasets.audit import faults, leaks
    from chorale.datasets.errors import UserError
    from chorale.datasets.source import source_of
    from chorale.datasets.splitting import grouping
    from chorale.datasets.splitting.split import fitting_folds, make_split
    from chorale.search.data.prepare import same_recordings, survey, ungrouped
    from chorale.search.sweep.workers import extraction

    source = source_of(resolved.dataset, resolved.dataset_config)
    with extraction(sweep.cluster, runs=sweep.runs_folder.root, n_tracks=len(tracks)) as run:
        heard = survey(source, tracks, sweep, progress, run)
        pairs = same_recordings(source, heard.tracks, sweep, progress, run)
    joined = leaks.join_groups(heard.tracks, pairs, sweep.split)
    leaking, unsplit = [], ""
    try:
        wanted = sweep.finalists.folds
        n_folds, fewer = fitting_folds(joined, sweep.split, n_folds=wanted)
        if fewer:
            progress.stage("split", fewer)
        split = make_split(joined, sweep.split, n_folds=n_folds)
        leaking = leaks.find(joined, split, pairs)
    except UserError as error:
        unsplit = str(error)
    found = faults.table(
        tracks,
        problems=heard.problems,
        warnings=heard.warnings,
        duplicates=pairs,
        leaks=leaking,
        accepted=leaks.accepted(sweep.audit.accept, sweep.split),
    )
    if unsplit:
        found.loc[len(found)] = ["", "(all)", faults.LEAKS, "no split", unsplit]
    alone = ungrouped(resolved, tracks) if sweep.split.by == "group" else ""
    if alone:
        console.print(f"Split by {grouping.UNGROUPED}: {alone}.", markup=False, soft_wrap=True)
    _show(found, n_tracks=len(tracks), n_good=len(heard.tracks), console=console, but=bool(alone))
    return found


def _show(
    found: "pd.DataFrame", *, n_tracks: int, n_good: int, console: "Console", but: bool
) -> None:
    """`but` says that something was said already that stands against the tracks."""
    from rich.markup import escape
    from rich.table import Table

    if found.empty:
        nothing = "Nothing else is wrong" if but else "Nothing is wrong"
        console.print(f"{nothing} with the {n_tracks} tracks.")
        return
    table = Table("path", "problem", "what becomes of it", "detail")
    for row in found.to_dict("records"):
        place = row["path"] if isinstance(row["path"], str) else row["track_id"]
        cells = (place, row["problem"], row["outcome"], row["detail"])
        style = COLOURS.get(str(row["outcome"]))
        table.add_row(*(escape(str(cell)) for cell in cells), style=style)
    console.print(table)
    for (problem, outcome), n in Counter(
        zip(found["problem"], found["outcome"], strict=True)
    ).items():
        console.print(f"{n:6}  {problem} ({outcome})")
    console.print(f"{n_good} of {n_tracks} tracks are fit for use.")
