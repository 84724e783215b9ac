"""`chorale recommend --like FILE ... | --history CSV`: recommends a playlist from a library."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chorale.datasets.errors import UserError
from chorale.search.commands.library_options import (
    absolute_path,
    bundle_of,
    library_paths,
    playlist_file,
)
from chorale.search.commands.study_options import split_arguments

if TYPE_CHECKING:
    from chorale.search.bundle.predictor import Predictor
    from chorale.search.champion.library.history import Play
    from chorale.search.champion.library.library import Library
    from chorale.search.champion.library.taste import Taste

HELP = """\
usage: chorale recommend (--like FILE ... | --history CSV) [--length N] [--variety V]
                         [--json] [--m3u8 FILE [--relative]] [--library DIR] [--seed N]

Makes a playlist from a library (chorale library add FOLDER). It has the genre shares of the
listening history; within each genre it takes the most similar tracks, none of the history, none
twice, with the artists spread. The more variety, the less similar its tracks are to each other.

  --like FILE ...    recordings, in the library or not
  --history CSV      a listening history: path, or title and artist; optionally plays, the weight
                     of a row, and timestamp: the weight halves every 180 days before the latest
  --length N         how many tracks (20)
  --variety V        0: the most similar tracks, 1: the most diverse ones (0.2)
  --json             print JSON
  --m3u8 FILE        also writes a playlist file for players
  --relative         writes paths relative to the playlist file's folder
  --library DIR      the library's folder (RUNS/library)
  --bundle BUNDLE    the bundle that the library was made with, if it was moved
  --seed N           another playlist of the same kind for each N
  --runs FOLDER      the folder of all studies (runs)
"""
RECOMMEND_OPTIONS = ("history", "length", "variety", "m3u8", "library", "bundle", "seed", "runs")
RECOMMEND_FLAGS = ("like", "json", "relative")
MAX_LENGTH = 500


def run(args: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    args = [part for arg in args for part in _split_like(arg)]
    places, options, flags = split_arguments(args, options=RECOMMEND_OPTIONS, flags=RECOMMEND_FLAGS)
    if ("history" in options) == bool("like" in flags) or bool(places) != ("like" in flags):
        raise UserError(
            "expected either --like FILE ... or --history CSV; type: chorale recommend --like FILE"
        )
    to = playlist_file(options, flags)
    length = _int_option(options, "length", 20, least=1, most=MAX_LENGTH)
    seed = _int_option(options, "seed", 0, least=0, most=2**32 - 1) if "seed" in options else None
    variety = _variety(options.get("variety", "0.2"))
    plays, beside = _plays(places, options)

    from chorale.search.champion.library.library import Library
    from chorale.search.champion.library.playlist import playlist
    from chorale.search.champion.library.taste_from_history import taste_from_history

    library = Library.open(library_paths(options, "library").root)
    if not library.content.tracks:
        raise UserError(
            f"the library in '{library.paths.root}' is empty; add to it: chorale library add "
            f"FOLDER --to {library.paths.root}"
        )
    lazy = _LazyPredictor(library, options)
    taste = taste_from_history(library, plays, beside=beside, predictor=lazy, warn=_warn)
    _refuse_all_in_history(library, taste)
    made = playlist(library, taste, length=length, variety=variety, seed=seed)
    missing = [track.path for track in made.tracks if not Path(track.path).is_file()]
    if missing:
        _warn(
            f"{len(missing)} of the files do not exist, such as '{missing[0]}'; if they were "
            f"moved, type: chorale library add FOLDER"
        )
    for note in made.notes:
        _warn(note)
    if to is not None:
        from chorale.search.champion.library.m3u8 import write_m3u8

        write_m3u8(to, made.tracks, relative="relative" in flags)
    from chorale.search.commands import playlist_output

    if "json" in flags:
        playlist_output.print_playlist_json(made, library, variety=variety)
    else:
        playlist_output.print_playlist(made, library)
        if to is not None:
            print(f"{to}: {len(made.tracks)} tracks")
    return 0


def _refuse_all_in_history(library: "Library", taste: "Taste") -> None:
    if not taste.contents.issuperset(library.by_content):
        return
    raise UserError(
        f"all {len(library.content.tracks)} tracks of the library in '{library.paths.root}' are in "
        f"the history; add others: chorale library add FOLDER --to {library.paths.root}"
    )


class _LazyPredictor:
    """Loads the library's bundle on first use, for files that must be embedded."""

    def __init__(self, library: "Library", options: Mapping[str, str]) -> None:
        self._library, self._options = library, options
        self._loaded: Predictor | None = None

    def __call__(self) -> "Predictor":
        """The predictor.

        Raises:
            UserError: the bundle does not exist, or the library was made with another one.
        """
        if self._loaded is None:
            from chorale.search.bundle.predictor import Predictor

            bundle = bundle_of(self._options, self._library.manifest)
            self._library.require(
                bundle, next_step="name the library's own with --bundle FOLDER, or make a new "
                "library: chorale library add FOLDER --to LIBRARY"
            )  # fmt: skip
            self._loaded = Predictor(bundle)
        return self._loaded


def _plays(places: Sequence[str], options: Mapping[str, str]) -> "tuple[tuple[Play, ...], Path]":
    """The listening history, and the folder that its relative paths start from."""
    from chorale.search.champion.library.history import Play, read_history

    if "history" in options:
        path = absolute_path(options["history"])
        return read_history(path), path.parent
    plays = (Play(0, str(absolute_path(place)), "", "", 1.0) for place in places)
    return tuple(plays), Path.cwd()


def _split_like(arg: str) -> list[str]:
    """`--like=FILE` as two arguments: the flag, and a positional one."""
    return ["--like", arg[7:]] if arg.startswith("--like=") else [arg]


def _variety(text: str) -> float:
    try:
        variety = float(text)
    except ValueError:
        variety = -1.0
    if not 0 <= variety <= 1:
        raise UserError(
            f"--variety expected a number from 0 (most similar) to 1 (most diverse), but got "
            f"'{text}'"
        )
    return variety


def _int_option(
    options: Mapping[str, str], name: str, default: int, *, least: int, most: int
) -> int:
    text = options.get(name)
    if text is None:
        return default
    if not text.isdecimal() or not least <= int(text) <= most:
        raise UserError(
            f"--{name} expected a whole number from {least} to {most}, but got '{text}'"
        )
    return int(text)


def _warn(line: str) -> None:
    print(f"chorale recommend: {line}", file=sys.stderr)
