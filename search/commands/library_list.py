"""`chorale library list`: what is in a library."""

import csv
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chorale.datasets.label_sets import LABEL_SEPARATOR
from chorale.search.commands.command import command
from chorale.search.commands.console import console
from chorale.search.commands.library_options import (
    library_option,
    library_paths,
    m3u8_option,
    playlist_file,
    relative_option,
)
from chorale.search.commands.parameters import flag, runs_option
from chorale.search.paths import Runs

if TYPE_CHECKING:
    from chorale.search.champion.library.library import Library
    from chorale.search.champion.library.track import LibraryTrack

LIST_COLUMNS = ("path", "title", "artist", "genre", "duration_s")
"""Columns of `--csv`; where tracks have several labels, then `labels`."""


@command(examples=["chorale library list", "chorale library list --label jazz --m3u8 jazz.m3u8"])
@library_option
@click.option(
    "--label",
    metavar="LABEL",
    help="Only the tracks of that genre, or with that label, the most probable first.",
)
@flag("--csv", "Print a CSV row for each track instead.", name="as_csv")
@m3u8_option
@relative_option
@runs_option
def run(
    library: str | None,
    label: str | None,
    as_csv: bool,
    m3u8: Path | None,
    relative: bool,
    runs: str,
) -> int:
    """Shows how many tracks of each genre a library has, of how many artists.

    It also shows which bundle embedded them. Where tracks have several labels, a track counts for
    each that reaches its threshold.
    """
    to = playlist_file(m3u8, relative=relative)
    from chorale.search.champion.library.library import Library

    opened = Library.open(library_paths(library, Runs(Path(runs).expanduser())).root)
    tracks = opened.content.tracks
    if label is not None:
        tracks = opened.with_label(label)
    if to is not None:
        from chorale.search.champion.library.m3u8 import write_m3u8

        write_m3u8(to, tracks, relative=relative)
    if as_csv:
        several = any(track.labels is not None for track in opened.content.tracks)
        _print_csv(tracks, several=several)
        return 0
    _print_counts(opened, tracks)
    if to is not None:
        print(f"{to}: {len(tracks)} tracks")
    return 0


def _print_csv(tracks: "Sequence[LibraryTrack]", *, several: bool) -> None:
    rows = csv.writer(sys.stdout)
    rows.writerow([*LIST_COLUMNS, "labels"] if several else LIST_COLUMNS)
    for track in tracks:
        cells = [getattr(track, name) for name in LIST_COLUMNS]
        rows.writerow([*cells, LABEL_SEPARATOR.join(track.predicted)] if several else cells)


def _print_counts(library: "Library", tracks: "Sequence[LibraryTrack]") -> None:
    n_of = Counter(label for track in tracks for label in track.predicted)
    hours = sum(track.duration_s for track in tracks) / 3600
    n_artists = len({track.artist_key for track in tracks if track.artist})
    out = console()
    about = library.manifest
    out.print(
        f"{library.paths.root}: {len(tracks)} tracks of {n_artists} known artists, {hours:.1f} h, "
        f"embedded by {about.bundle[:12]} (of study '{about.study}')",
        markup=False, soft_wrap=True,
    )  # fmt: skip
    for genre, n in n_of.most_common():
        out.print(f"  {genre:<20} {n:>7} {n / len(tracks):>7.1%}", markup=False)
    if n_without := sum(not track.predicted for track in tracks):
        out.print(f"  no label {n_without:>19} {n_without / len(tracks):>7.1%}", markup=False)
