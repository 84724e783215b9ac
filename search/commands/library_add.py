"""`chorale library add FOLDER ...`: stores the embeddings of tracks in a library."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chorale.datasets.errors import UserError
from chorale.search.commands.library_options import absolute_path, bundle_of, library_paths
from chorale.search.commands.study_options import split_arguments

if TYPE_CHECKING:
    from chorale.search.champion.library.adding import AddResult

HELP = """\
usage: chorale library add FOLDER ... [--bundle BUNDLE|CHAMPION] [--to LIBRARY] [--artist REGEX]

Embeds and classifies all audio below the folders with a bundle and stores the results: for chorale
recommend, and for the similar tracks of chorale serve --library. Tracks that are already in the
library are skipped, changed files are embedded again, and moved files are recognised by their
content. Run it again after an interruption, or when there are more files. A file that cannot be
read is reported and skipped; then the exit code is 1.

Title and artist come from the file's tags, else from its path: FOLDER/[GENRE/]ARTIST/..., or
"Artist - Title.mp3"; else the artist is unknown.

  --bundle BUNDLE    a bundle's folder, or a champion's name; by default the library's own, or for a
                     new library the only champion
  --to LIBRARY       the library's folder (RUNS/library)
  --artist REGEX     its first group, found in a path below FOLDER, is the artist: '([^/]+)/[^/]+$'
  --runs FOLDER      the folder of all studies (runs)
"""
LIBRARY_ADD_OPTIONS = ("bundle", "to", "artist", "runs")


def run(args: Sequence[str]) -> int:
    """Runs the command; returns its exit code."""
    places, options, _ = split_arguments(args, options=LIBRARY_ADD_OPTIONS)
    if not places:
        raise UserError("expected a FOLDER of audio; type: chorale library add FOLDER")
    artist = _pattern(options)
    from chorale.search.commands.predict import audio_files

    roots = [_folder(place) for place in places]
    files = {root: [Path(file) for file in audio_files([str(root)])] for root in roots}
    paths = library_paths(options, "to")
    from chorale.search.champion.library.files import read_library_manifest

    manifest = read_library_manifest(paths) if paths.manifest.is_file() else None
    bundle = bundle_of(options, manifest)

    from chorale.search.bundle.predictor import Predictor
    from chorale.search.champion.library.adding import add
    from chorale.search.commands.library_progress import LibraryProgress

    predictor = Predictor(bundle)
    n_bad = 0
    for root, found in files.items():
        with LibraryProgress() as display:
            added = add(
                paths, predictor, found, root=root, listener=display, artist=artist,
                next_step=f"add them to another library: {_elsewhere(places, options, paths.root)}",
            )  # fmt: skip
        print(f"{root}: {added_text(added)}")
        n_bad += added.n_bad
    print(f"{paths.root}: {added.n_all} tracks, embedded by {bundle.digest[:12]}; try it: chorale "
          f"recommend --like FILE{_library(options)}")  # fmt: skip
    return 1 if n_bad else 0


def added_text(added: "AddResult") -> str:
    """The outcome of the files, in one line."""
    counts: Mapping[str, int] = {
        "new": added.n_new,
        "known": added.n_known,
        "moved": added.n_moved,
        "changed": added.n_replaced,
        "duplicate": added.n_duplicates,
        "unreadable": added.n_bad,
    }
    return ", ".join(f"{n} {outcome}" for outcome, n in counts.items() if n or outcome == "new")


def _folder(place: str) -> Path:
    folder = absolute_path(place)
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
    args = [f" --library {options['to']}"] if "to" in options else []
    args += [f" --runs {options['runs']}"] if "runs" in options and not args else []
    return "".join(args)
