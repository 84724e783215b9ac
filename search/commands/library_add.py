"""`chorale library add FOLDER ...`: a library of tracks as a bundle hears them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chorale.datasets.errors import UserError
from chorale.search.commands.library_words import absolute, bundle_of, library_paths
from chorale.search.commands.study_words import split_words

if TYPE_CHECKING:
    from chorale.search.champion.library.adding import Added

HELP = """\
usage: chorale library add FOLDER ... [--bundle BUNDLE|CHAMPION] [--to LIBRARY] [--artist REGEX]

Hears all audio below the folders with a bundle, and keeps how each track sounds and which genre it
is: for chorale recommend, and for the similar tracks of chorale serve --library. What is in the
library already is skipped, a file that changed is heard again, one that was moved is found by its
content. Type it again after an interruption, or when there is more music. A file that cannot be
read is told and left out; then the exit code is 1.

Title and artist come from the file's tags, else from its place: FOLDER/[GENRE/]ARTIST/..., or
"Artist - Title.mp3"; else the artist is unknown.

  --bundle BUNDLE    a bundle's folder, or a champion's name; by default the library's own, or for a
                     new library the only champion
  --to LIBRARY       the library's folder (RUNS/library)
  --artist REGEX     its first group, found in a path below FOLDER, is the artist: '([^/]+)/[^/]+$'
  --runs FOLDER      the folder of all studies (runs)
"""
OPTIONS = ("bundle", "to", "artist", "runs")


def run(words: Sequence[str]) -> int:
    """Runs the command; gives its exit code."""
    if any(word in ("-h", "--help") for word in words):
        print(HELP)
        return 0
    places, options, _ = split_words(words, options=OPTIONS)
    if not places:
        raise UserError("expected a FOLDER of audio; type: chorale library add FOLDER")
    artist = _pattern(options)
    from chorale.search.commands.predict import files_of

    roots = [_folder(place) for place in places]
    files = {root: [Path(file) for file in files_of([str(root)])] for root in roots}
    paths = library_paths(options, "to")
    from chorale.search.champion.library.files import read_manifest

    manifest = read_manifest(paths) if paths.manifest.is_file() else None
    bundle = bundle_of(options, manifest)

    from chorale.search.bundle.predictor import Predictor
    from chorale.search.champion.library.adding import add
    from chorale.search.commands.library_display import Display

    predictor = Predictor(bundle)
    n_bad = 0
    for root, found in files.items():
        with Display() as display:
            added = add(
                paths, predictor, found, root=root, listener=display, artist=artist,
                otherwise=f"add them to another library: {_elsewhere(places, options, paths.root)}",
            )  # fmt: skip
        print(f"{root}: {told(added)}")
        n_bad += added.n_bad
    print(f"{paths.root}: {added.n_all} tracks, heard by {bundle.digest[:12]}; try it: chorale "
          f"recommend --like FILE{_library(options)}")  # fmt: skip
    return 1 if n_bad else 0


def told(added: "Added") -> str:
    """What became of the files, in one line."""
    words: Mapping[str, int] = {
        "new": added.n_new,
        "known": added.n_known,
        "moved": added.n_moved,
        "no longer what they were": added.n_replaced,
        "the same as another": added.n_doubled,
        "not readable": added.n_bad,
    }
    return ", ".join(f"{n} {word}" for word, n in words.items() if n or word == "new")


def _folder(place: str) -> Path:
    folder = absolute(place)
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise UserError(f"expected a folder of audio, but '{place}' {what}; give another FOLDER")
    return folder


def _pattern(options: Mapping[str, str]) -> re.Pattern[str] | None:
    text = options.get("artist")
    if text is None:
        return None
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UserError(f"--artist '{text}' is no regular expression: {error}") from None
    if not pattern.groups:
        raise UserError(
            f"--artist '{text}' has no ( ) around the part that is the artist; such as "
            f"'([^/]+)/[^/]+$'"
        )
    return pattern


def _elsewhere(places: Sequence[str], options: Mapping[str, str], root: Path) -> str:
    bundle = f" --bundle {options['bundle']}" if "bundle" in options else ""
    return f"chorale library add {' '.join(places)}{bundle} --to {root}-2"


def _library(options: Mapping[str, str]) -> str:
    words = [f" --library {options['to']}"] if "to" in options else []
    words += [f" --runs {options['runs']}"] if "runs" in options and not words else []
    return "".join(words)
