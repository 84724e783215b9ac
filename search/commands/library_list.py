"""`chorale library list`: what is in a library."""

import csv
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from chorale.datasets.errors import UserError
from chorale.datasets.label_sets import LABEL_SEPARATOR
from chorale.search.commands.library_options import library_paths, playlist_file
from chorale.search.commands.study_options import console, split_arguments

if TYPE_CHECKING:
    from chorale.search.champion.library.library import Library
    from chorale.search.champion.library.track import LibraryTrack

HELP = """\
usage: chorale library list [--library DIR] [--label LABEL] [--csv] [--m3u8 FILE [--relative]]
                            [--runs FOLDER]

Shows how many tracks of each genre a library has, of how many artists, and which bundle embedded
them. Where tracks have several labels, a track counts for each that reaches its threshold.

  --library DIR      the library's folder (RUNS/library)
  --label LABEL      only the tracks of that genre, or with that label, the most probable first
  --m3u8 FILE        also writes the tracks to a playlist file for players
  --relative         writes paths relative to the playlist file's folder
  --csv              prints a CSV row for each track instead
  --runs FOLDER      the folder of all studies (runs)
"""
LIST_COLUMNS = ("path", "title", "artist", "genre", "duration_s")
"""Columns of `--csv`; where tracks have several labels, then `labels`."""


def run(args: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    places, options, flags = split_arguments(
        args, options=("library", "label", "m3u8", "runs"), flags=("csv", "relative")
    )
    if places:
        raise UserError(
            f"expected no name, but got {' '.join(places)}; give the library with --library DIR"
        )
    to = playlist_file(options, flags)
    from chorale.search.champion.library.library import Library

    library = Library.open(library_paths(options, "library").root)
    tracks = library.content.tracks
    if "label" in options:
        tracks = library.with_label(options["label"])
    if to is not None:
        from chorale.search.champion.library.m3u8 import write_m3u8

        write_m3u8(to, tracks, relative="relative" in flags)
    if "csv" in flags:
        several = any(track.labels is not None for track in library.content.tracks)
        _print_csv(tracks, several=several)
        return 0
    _print_counts(library, tracks)
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
