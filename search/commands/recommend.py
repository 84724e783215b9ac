"""`chorale recommend --like FILE ... | --history CSV`: a playlist from a library."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chorale.datasets.errors import UserError
from chorale.search.commands.library_words import absolute, bundle_of, library_paths
from chorale.search.commands.study_words import split_words

if TYPE_CHECKING:
    from chorale.search.bundle.predictor import Predictor
    from chorale.search.champion.library.history import Play
    from chorale.search.champion.library.library import Library
    from chorale.search.champion.library.taste import Taste

HELP = """\
usage: chorale recommend (--like FILE ... | --history CSV) [--length N] [--variety V]
                         [--json] [--m3u8 FILE [--relative]] [--library DIR] [--seed N]

Makes a playlist from a library (chorale library add FOLDER). Its genres are those of what was
listened to, in the same shares; of each the tracks that sound likest; nothing that was listened to,
nothing twice, the artists spread. The more variety, the further apart its tracks are.

  --like FILE ...    recordings, in the library or not
  --history CSV      what was listened to: path, or title and artist; optionally plays, which count
                     as often, and timestamp: half as much for every 180 days before the latest
  --length N         so many tracks (20)
  --variety V        0 gives the likest, 1 the widest that the library has (0.2)
  --json             as JSON
  --m3u8 FILE        also as a playlist for players
  --relative         in it, paths from its own folder
  --library DIR      the library's folder (RUNS/library)
  --bundle BUNDLE    the bundle that it was made with, where that lies elsewhere by now
  --seed N           another playlist of the same kind for each N
  --runs FOLDER      the folder of all studies (runs)
"""
OPTIONS = ("history", "length", "variety", "m3u8", "library", "bundle", "seed", "runs")
FLAGS = ("like", "json", "relative")
MAX_LENGTH = 500


def run(words: Sequence[str]) -> int:
    """Runs the command; gives its exit code."""
    if any(word in ("-h", "--help") for word in words):
        print(HELP)
        return 0
    words = [part for word in words for part in _apart(word)]
    places, options, flags = split_words(words, options=OPTIONS, flags=FLAGS)
    if ("history" in options) == bool("like" in flags) or bool(places) != ("like" in flags):
        raise UserError(
            "expected what was listened to, either --like FILE ... or --history CSV; type: "
            "chorale recommend --like FILE"
        )
    if "relative" in flags and "m3u8" not in options:
        raise UserError("--relative is about the playlist's file; add --m3u8 FILE")
    length = _whole(options, "length", 20, least=1, most=MAX_LENGTH)
    seed = _whole(options, "seed", 0, least=0, most=2**32 - 1) if "seed" in options else None
    variety = _variety(options.get("variety", "0.2"))
    to = absolute(options["m3u8"]) if "m3u8" in options else None
    if to is not None and to.is_dir():
        raise UserError(f"--m3u8 expected a file, but '{to}' is a folder; add a name to it")
    plays, beside = _plays(places, options)

    from chorale.search.champion.library.library import Library
    from chorale.search.champion.library.listening import taste_of
    from chorale.search.champion.library.playlist import playlist

    library = Library.open(library_paths(options, "library").root)
    if not library.content.tracks:
        raise UserError(
            f"the library in '{library.paths.root}' is empty; add to it: chorale library add "
            f"FOLDER --to {library.paths.root}"
        )
    once = _Once(library, options)
    taste = taste_of(library, plays, beside=beside, predictor=once, say=_say)
    _refuse_all_heard(library, taste)
    made = playlist(library, taste, length=length, variety=variety, seed=seed)
    gone = [track.path for track in made.tracks if not Path(track.path).is_file()]
    if gone:
        _say(f"{len(gone)} of the files are not where they were, such as '{gone[0]}'; where they "
             f"were moved, type: chorale library add FOLDER")  # fmt: skip
    for note in made.notes:
        _say(note)
    if to is not None:
        from chorale.search.champion.library.m3u8 import write_m3u8

        write_m3u8(to, made.tracks, relative="relative" in flags)
    from chorale.search.commands import recommend_lines

    if "json" in flags:
        recommend_lines.print_json(made, library, variety=variety)
    else:
        recommend_lines.print_table(made, library)
        if to is not None:
            print(f"{to}: {len(made.tracks)} tracks")
    return 0


def _refuse_all_heard(library: "Library", taste: "Taste") -> None:
    if not taste.contents.issuperset(library.by_content):
        return
    raise UserError(
        f"all {len(library.content.tracks)} tracks of the library in '{library.paths.root}' were "
        f"listened to; add others: chorale library add FOLDER --to {library.paths.root}"
    )


class _Once:
    """Loads the library's bundle when a file must be heard, and only once."""

    def __init__(self, library: "Library", options: Mapping[str, str]) -> None:
        self._library, self._options = library, options
        self._loaded: Predictor | None = None

    def __call__(self) -> "Predictor":
        """The predictor.

        Raises:
            UserError: the bundle is gone, or another one heard the library.
        """
        if self._loaded is None:
            from chorale.search.bundle.predictor import Predictor

            bundle = bundle_of(self._options, self._library.manifest)
            self._library.require(
                bundle, otherwise="name the library's own with --bundle FOLDER, or make a new "
                "library: chorale library add FOLDER --to LIBRARY"
            )  # fmt: skip
            self._loaded = Predictor(bundle)
        return self._loaded


def _plays(places: Sequence[str], options: Mapping[str, str]) -> "tuple[tuple[Play, ...], Path]":
    """What was listened to, and the folder that its paths may start from."""
    from chorale.search.champion.library.history import Play, read_history

    if "history" in options:
        path = absolute(options["history"])
        return read_history(path), path.parent
    plays = (Play(0, str(absolute(place)), "", "", 1.0) for place in places)
    return tuple(plays), Path.cwd()


def _apart(word: str) -> list[str]:
    """`--like=FILE` as two words: its files are plain ones."""
    return ["--like", word[7:]] if word.startswith("--like=") else [word]


def _variety(text: str) -> float:
    try:
        variety = float(text)
    except ValueError:
        variety = -1.0
    if not 0 <= variety <= 1:
        raise UserError(f"--variety expected a number from 0 (likest) to 1 (widest), but got "
                        f"'{text}'")  # fmt: skip
    return variety


def _whole(options: Mapping[str, str], name: str, default: int, *, least: int, most: int) -> int:
    text = options.get(name)
    if text is None:
        return default
    if not text.isdecimal() or not least <= int(text) <= most:
        raise UserError(
            f"--{name} expected a whole number from {least} to {most}, but got '{text}'"
        )
    return int(text)


def _say(line: str) -> None:
    print(f"chorale recommend: {line}", file=sys.stderr)
