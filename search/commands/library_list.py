"""`chorale library list`: what is in a library."""

import csv
import sys
from collections import Counter
from collections.abc import Sequence

from chorale.datasets.errors import UserError
from chorale.search.commands.library_options import library_paths
from chorale.search.commands.study_options import console, split_arguments

HELP = """\
usage: chorale library list [--library DIR] [--csv] [--runs FOLDER]

Shows how many tracks of each genre a library has, of how many artists, and which bundle embedded
them.

  --library DIR      the library's folder (RUNS/library)
  --csv              prints a CSV row for each track instead
  --runs FOLDER      the folder of all studies (runs)
"""
LIST_COLUMNS = ("path", "title", "artist", "genre", "duration_s")


def run(args: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    if any(arg in ("-h", "--help") for arg in args):
        print(HELP)
        return 0
    places, options, flags = split_arguments(args, options=("library", "runs"), flags=("csv",))
    if places:
        raise UserError(
            f"expected no name, but got {' '.join(places)}; give the library with --library DIR"
        )
    from chorale.search.champion.library.library import Library

    library = Library.open(library_paths(options, "library").root)
    tracks = library.content.tracks
    if "csv" in flags:
        rows = csv.writer(sys.stdout)
        rows.writerow(LIST_COLUMNS)
        rows.writerows([getattr(track, name) for name in LIST_COLUMNS] for track in tracks)
        return 0
    n_of = Counter(track.genre for track in tracks)
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
    return 0
