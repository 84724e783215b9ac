"""`chorale library add FOLDER ...`: stores the embeddings of tracks in a library."""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chorale.datasets.errors import UserError
from chorale.search.commands.command import command
from chorale.search.commands.library_options import absolute_path, bundle_of, library_paths
from chorale.search.commands.parameters import runs_option
from chorale.search.paths import Runs

if TYPE_CHECKING:
    from chorale.search.champion.library.adding import AddResult


@command(
    examples=[
        "chorale library add music",
        "chorale library add music more --bundle my_bundle --to my_library",
    ]
)
@click.argument("folders", nargs=-1, required=True, metavar="FOLDER ...")
@click.option(
    "--bundle",
    metavar="BUNDLE|CHAMPION",
    show_default="the library's own; for a new library the only champion",
    help="A bundle's folder, or a champion's name.",
)
@click.option("--to", metavar="LIBRARY", show_default="RUNS/library", help="The library's folder.")
@click.option(
    "--artist",
    metavar="REGEX",
    help="Its first group, found in a path below FOLDER, is the artist: '([^/]+)/[^/]+$'.",
)
@runs_option
def run(
    folders: tuple[str, ...], bundle: str | None, to: str | None, artist: str | None, runs: str
) -> int:
    """Embeds and classifies all audio below the folders, and stores the results.

    They are for chorale recommend, and for the similar tracks of chorale serve --library. Tracks
    that are already in the library are skipped, changed files are embedded again, and moved files
    are recognised by their content. Run it again after an interruption, or when there are more
    files. A file that cannot be read is reported and skipped; then the exit code is 1.

    Title and artist come from the file's tags, else from its path: FOLDER/[GENRE/]ARTIST/..., or
    "Artist - Title.mp3"; else the artist is unknown.
    """
    pattern = _pattern(artist)
    from chorale.search.commands.predict import audio_files

    roots = [_folder(folder) for folder in folders]
    files = {root: [Path(file) for file in audio_files([str(root)])] for root in roots}
    at = Runs(Path(runs).expanduser())
    paths = library_paths(to, at)
    from chorale.search.champion.library.files import read_library_manifest

    manifest = read_library_manifest(paths) if paths.manifest.is_file() else None
    opened = bundle_of(bundle, at, manifest)

    from chorale.search.bundle.predictor import Predictor
    from chorale.search.champion.library.adding import add
    from chorale.search.commands.library_progress import LibraryProgress

    predictor = Predictor(opened)
    n_bad = 0
    for root, found in files.items():
        with LibraryProgress() as display:
            added = add(
                paths, predictor, found, root=root, listener=display, artist=pattern,
                next_step=f"add them to another library: {_elsewhere(folders, bundle, paths.root)}",
            )  # fmt: skip
        print(f"{root}: {added_text(added)}")
        n_bad += added.n_bad
    print(f"{paths.root}: {added.n_all} tracks, embedded by {opened.digest[:12]}; try it: chorale "
          f"recommend --like FILE{_library(to, runs)}")  # fmt: skip
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


def _pattern(text: str | None) -> re.Pattern[str] | None:
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


def _elsewhere(folders: Sequence[str], bundle: str | None, root: Path) -> str:
    chosen = ["--bundle", bundle] if bundle is not None else []
    return shlex.join(["chorale", "library", "add", *folders, *chosen, "--to", f"{root}-2"])


def _library(to: str | None, runs: str) -> str:
    if to is not None:
        return f" --library {to}"
    return "" if runs == "runs" else f" --runs {runs}"
