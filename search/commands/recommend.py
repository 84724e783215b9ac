"""`chorale recommend --like FILE ... | --history CSV`: recommends a playlist from a library."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chorale.datasets.errors import UserError
from chorale.search.commands.command import command, require
from chorale.search.commands.library_options import (
    absolute_path,
    bundle_of,
    library_option,
    library_paths,
    m3u8_option,
    playlist_file,
    relative_option,
)
from chorale.search.commands.parameters import (
    FILE,
    Number,
    WholeNumber,
    json_option,
    runs_option,
)
from chorale.search.paths import Runs

if TYPE_CHECKING:
    from chorale.search.bundle.predictor import Predictor
    from chorale.search.champion.library.history import Play
    from chorale.search.champion.library.library import Library
    from chorale.search.champion.library.taste import Taste

MAX_LENGTH = 500


@command(
    examples=[
        "chorale recommend --like song.mp3 other.mp3",
        "chorale recommend --history plays.csv --length 50 --m3u8 evening.m3u8",
    ]
)
@click.argument("more", nargs=-1, metavar="[FILE ...]")
@click.option(
    "--like", multiple=True, metavar="FILE ...", help="Recordings, in the library or not."
)
@click.option(
    "--history",
    type=FILE,
    metavar="CSV",
    help="A listening history: path, or title and artist; optionally plays, the weight of a row, "
    "and timestamp: the weight halves every 180 days before the latest.",
)
@click.option(
    "--length", type=WholeNumber(1, MAX_LENGTH), default=20, metavar="N", help="How many tracks."
)
@click.option(
    "--variety",
    type=Number(0, 1),
    default=0.2,
    metavar="V",
    help="0: the most similar tracks, 1: the most diverse ones.",
)
@json_option
@m3u8_option
@relative_option
@library_option
@click.option(
    "--bundle", metavar="BUNDLE", help="The bundle that the library was made with, if it was moved."
)
@click.option(
    "--seed",
    type=WholeNumber(0, 2**32 - 1),
    metavar="N",
    help="Another playlist of the same kind for each N.",
)
@runs_option
def run(
    more: tuple[str, ...],
    like: tuple[str, ...],
    history: Path | None,
    length: int,
    variety: float,
    as_json: bool,
    m3u8: Path | None,
    relative: bool,
    library: str | None,
    bundle: str | None,
    seed: int | None,
    runs: str,
) -> int:
    """Makes a playlist from a library (chorale library add FOLDER).

    It has the genre shares of the listening history; within each genre it takes the most similar
    tracks, none of the history, none twice, with the artists spread. The more variety, the less
    similar its tracks are to each other.
    """
    require(
        (history is not None) != bool(like) and (bool(like) or not more),
        "expected either --like FILE ... or --history CSV; type: chorale recommend --like FILE",
    )
    to = playlist_file(m3u8, relative=relative)
    plays, beside = _plays((*like, *more), history)

    from chorale.search.champion.library.library import Library
    from chorale.search.champion.library.playlist import playlist
    from chorale.search.champion.library.taste_from_history import taste_from_history

    at = Runs(Path(runs).expanduser())
    opened = Library.open(library_paths(library, at).root)
    if not opened.content.tracks:
        raise UserError(
            f"the library in '{opened.paths.root}' is empty; add to it: chorale library add "
            f"FOLDER --to {opened.paths.root}"
        )
    lazy = _LazyPredictor(opened, bundle, at)
    taste = taste_from_history(opened, plays, beside=beside, predictor=lazy, warn=_warn)
    _refuse_all_in_history(opened, taste)
    made = playlist(opened, taste, length=length, variety=variety, seed=seed)
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

        write_m3u8(to, made.tracks, relative=relative)
    from chorale.search.commands import playlist_output

    if as_json:
        playlist_output.print_playlist_json(made, opened, variety=variety)
    else:
        playlist_output.print_playlist(made, opened)
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

    def __init__(self, library: "Library", bundle: str | None, runs: Runs) -> None:
        self._library, self._bundle, self._runs = library, bundle, runs
        self._loaded: Predictor | None = None

    def __call__(self) -> "Predictor":
        """The predictor.

        Raises:
            UserError: the bundle does not exist, or the library was made with another one.
        """
        if self._loaded is None:
            from chorale.search.bundle.predictor import Predictor

            bundle = bundle_of(self._bundle, self._runs, self._library.manifest)
            self._library.require(
                bundle, next_step="name the library's own with --bundle FOLDER, or make a new "
                "library: chorale library add FOLDER --to LIBRARY"
            )  # fmt: skip
            self._loaded = Predictor(bundle)
        return self._loaded


def _plays(files: Sequence[str], history: Path | None) -> "tuple[tuple[Play, ...], Path]":
    """The listening history, and the folder that its relative paths start from."""
    from chorale.search.champion.library.history import Play, read_history

    if history is not None:
        path = absolute_path(history)
        return read_history(path), path.parent
    plays = (Play(0, str(absolute_path(file)), "", "", 1.0) for file in files)
    return tuple(plays), Path.cwd()


def _warn(line: str) -> None:
    print(f"chorale recommend: {line}", file=sys.stderr)
