"""`chorale data check NAME [--key value]`: audits a dataset and its split."""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chorale.search.commands.command import command
from chorale.search.commands.console import progress_console
from chorale.search.commands.parameters import FILE, SweepWords, json_option

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from chorale.search.config.schema import SweepConfig

OUTCOME_COLOURS = {
    "stops the sweep": "red",
    "no track": "red",
    "quarantined": "yellow",
    "not read": "yellow",
}


MAX_LABELS_SHOWN = 40
"""Labels with their number of tracks that are printed, the most frequent first."""


@command(
    keys=True,
    examples=[
        "chorale data check music",
        "chorale data check fsdd --root fsdd.zip --csv problems.csv",
        "chorale data check my.yaml --features.encoder birdnet --json",
    ],
)
@click.argument("words", nargs=-1, type=SweepWords(), metavar="NAME [--KEY VALUE ...]")
@click.option(
    "--csv",
    type=FILE,
    metavar="FILE",
    help="Also write the table as CSV, with a row for each file that was not read.",
)
@json_option
def run(words: tuple[str, ...], csv: Path | None, as_json: bool) -> int:
    """Decodes every track of a dataset and lists all problems, without training anything.

    By path and reason it lists files that are broken, silent, too short, clipped or misnamed, files
    that were not read, labels without a track, labels that look alike, the same recording in
    several files or under two labels, and leaks between the sides of its split. Where the sweep has
    an encoder (--features.encoder NAME), also pairs of tracks that the encoder can hardly tell
    apart.

    NAME is a sweep file, a folder of recordings, a dataset (chorale data list), or a shipped sweep;
    a key is one of the dataset (--root FOLDER) or of the sweep (chorale keys). Of your own folder
    the last line accounts for every file; text, pictures and hidden files are no problem. Exits
    with 0 if there are no problems, else with 1.
    """
    from chorale.datasets.atomic import write_text
    from chorale.search.commands.output_file import require_writable
    from chorale.search.commands.sweep_options import parse_sweep_options
    from chorale.search.console.progress import Progress

    named = parse_sweep_options(words, command="data check")
    if csv is not None:
        require_writable(csv, option="--csv")
    shown = progress_console(to_stderr=as_json)
    with Progress(shown).keep_alive("data check"):
        found = check_data(named.sweep, where=named.where, console=shown)
    if csv is not None:
        write_text(csv, found.to_csv(index=False))
    if as_json:
        rows = json.loads(found.to_json(orient="records"))
        print(json.dumps({"name": named.where, "problems": rows}, indent=2, ensure_ascii=False))
    return 1 if len(found) else 0


def check_data(sweep: "SweepConfig", *, where: str, console: "Console") -> "pd.DataFrame":
    """Audits the data of a sweep, prints the problems, and returns them as a table.

    Raises:
        UserError, ClusterError: the data does not exist, or the sweep file has problems.
    """
    from chorale.search.config.resolve import resolve
    from chorale.search.console.progress import Progress
    from chorale.search.data.tracks import read_tracks

    resolved = resolve(sweep, where=where)
    progress = Progress(console)
    given = read_tracks(resolved, progress)
    tracks = given.table
    for line in label_lines(tracks):
        progress.stage("labels", line)
    # Imported only once the tracks are read: these import the audio decoders.
    import pandas as pd

    from chorale.datasets.audit import faults, leaks
    from chorale.datasets.errors import UserError
    from chorale.datasets.source import source_of
    from chorale.datasets.splitting import grouping
    from chorale.search.config.encoder_choices import is_encoder
    from chorale.search.data import near_duplicates
    from chorale.search.data.audited_tracks import audited_tracks, split_audited
    from chorale.search.data.files import file_sum_text, label_faults, unread_files
    from chorale.search.data.prepare import no_groups_note
    from chorale.search.data.rare_class_options import rare_class_lines
    from chorale.search.sweep.worker_pool import extraction

    unread = unread_files(resolved.dataset, resolved.dataset_config)
    source = source_of(resolved.dataset, resolved.dataset_config)
    with extraction(sweep.cluster, runs=sweep.runs_folder.root, n_tracks=len(tracks)) as run:
        audited = audited_tracks(source, given, sweep, progress, run)
        found, pairs, joined = audited.found, audited.pairs, audited.joined
        stores = {}
        for feature in filter(is_encoder, resolved.feature_values):
            store = source.build_store(
                joined,
                feature,
                resolved.features[feature],
                root=sweep.runs_folder.cache,
                run=progress.watch(run, feature),
            )
            stores[feature] = store.folder
            progress.stage("features", f"{feature}: for near duplicates; a sweep reuses it")
    near = near_duplicates.report_near_duplicates(joined, pairs, stores, progress)
    for line in audited.changes.lines():
        progress.stage("labels", f"after the audit {line}")
    leaking, unsplit = [], ""
    try:
        parts = split_audited(audited, given.changes.then(audited.changes), sweep)
        joined, leaking = parts.tracks, parts.leaking
        for line in filter(None, (parts.fewer, parts.unused)):
            progress.stage("split", line)
    except UserError as error:
        unsplit = str(error)
    table = faults.fault_table(
        tracks,
        problems=found.problems,
        warnings=pd.concat(
            [found.warnings, near_duplicates.near_pair_warnings(near, audited.joined)],
            ignore_index=True,
        ),
        duplicates=pairs,
        leaks=leaking,
        accepted=leaks.accepted_kinds(sweep.audit.accept, sweep.split),
        unread=unread,
    )
    for problem, detail in label_faults(tracks):
        table.loc[len(table)] = ["", "(labels)", faults.WARNED, problem, detail]
    if unsplit:
        table.loc[len(table)] = ["", "(all)", faults.LEAKS, "no split", unsplit]
    alone = no_groups_note(resolved, given.own) if sweep.split.by == "group" else ""
    if alone:
        console.print(f"Split by {grouping.UNGROUPED_TEXT}: {alone}.", markup=False, soft_wrap=True)
    n_good = len(found.tracks)
    _show(table, n_tracks=len(tracks), n_good=n_good, console=console, but=bool(alone))
    if sweep.labels.rare == "refuse":
        n_folds = sweep.finalists.folds
        for line in rare_class_lines(joined, sweep.labels, sweep.split, n_folds=n_folds):
            console.print(line, markup=False, soft_wrap=True)
    if unread is not None:
        became = {
            "used": len(joined),
            "quarantined": len(tracks) - n_good,
            "left out by their label": len(given.own) - len(tracks) + n_good - len(joined),
        }
        n_elsewhere = int(given.own["track_id"].str.startswith("../").sum())
        line = file_sum_text(unread, became, n_elsewhere=n_elsewhere)
        console.print(f"{line}.", markup=False, soft_wrap=True)
    return table


def label_lines(tracks: "pd.DataFrame") -> list[str]:
    """How many labels a track has and how many tracks each label; empty where each has one."""
    from chorale.datasets.label_sets import has_several_labels, one_row_per_label
    from chorale.search.data.tracks import labels_per_track

    if not has_several_labels(tracks):
        return []
    n = labels_per_track(tracks)
    several = int((n > 1).sum())
    each = one_row_per_label(tracks)
    groups = each.groupby("label")["group"].nunique()
    counts = each["label"].value_counts(sort=True)
    named = [f"{name} {k} ({_groups_text(groups[str(name)])})" for name, k in counts.items()]
    more = f" and {len(named) - MAX_LABELS_SHOWN} more" if len(named) > MAX_LABELS_SHOWN else ""
    return [
        f"{len(counts)} labels, {n.min()} to {n.max()} of each track, {n.mean():.1f} on average; "
        f"{several} of {len(tracks)} tracks have several",
        f"tracks with each: {', '.join(named[:MAX_LABELS_SHOWN])}{more}",
    ]


def _groups_text(n: int) -> str:
    return "1 group" if n == 1 else f"{n} groups"


def _show(
    found: "pd.DataFrame", *, n_tracks: int, n_good: int, console: "Console", but: bool
) -> None:
    """Prints the table; `but` is true where a caution about the groups was printed before."""
    from rich.markup import escape
    from rich.table import Table

    if found.empty:
        nothing = "Nothing else is wrong" if but else "Nothing is wrong"
        console.print(f"{nothing} with the {n_tracks} tracks.")
        return
    table = Table("path", "problem", "outcome", "detail")
    for row in _grouped(found).to_dict("records"):
        place = row["path"] if isinstance(row["path"], str) else row["track_id"]
        cells = (place, row["problem"], row["outcome"], row["detail"])
        style = OUTCOME_COLOURS.get(str(row["outcome"]))
        table.add_row(*(escape(str(cell)) for cell in cells), style=style)
    console.print(table)
    for (problem, outcome), n in Counter(
        zip(found["problem"], found["outcome"], strict=True)
    ).items():
        console.print(f"{n:6}  {problem} ({outcome})")
    console.print(f"{n_good} of {n_tracks} tracks are usable.")


def _grouped(found: "pd.DataFrame") -> "pd.DataFrame":
    """The table with one row for all files that were not read for the same reason."""
    import pandas as pd

    from chorale.datasets.base import NOT_READ

    is_unread = (found["outcome"] == NOT_READ).to_numpy()
    unread = found[is_unread]
    n_files = unread.groupby("problem")["path"].transform("size")
    first = ~unread["problem"].duplicated()
    grouped = unread[first].copy()
    counts = n_files[first].astype(str)
    grouped["detail"] = counts + " files, such as this one; " + grouped["detail"]
    return pd.concat([found[~is_unread], grouped]).sort_index()
