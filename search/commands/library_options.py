"""Options that the library commands share: the library, its bundle, and a playlist file."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chorale.datasets.errors import UserError
from chorale.search.commands.command import require
from chorale.search.commands.output_file import require_writable
from chorale.search.commands.parameters import FILE, flag
from chorale.search.paths import LibraryPaths, Runs

if TYPE_CHECKING:
    from chorale.search.bundle.bundle import Bundle
    from chorale.search.champion.library.files import LibraryManifest

library_option = click.option(
    "--library", metavar="DIR", show_default="RUNS/library", help="The library's folder."
)
m3u8_option = click.option(
    "--m3u8", type=FILE, metavar="FILE", help="Also write a playlist file for players."
)
relative_option = flag("--relative", "Write paths relative to the playlist file's folder.")


def library_paths(named: str | None, runs: Runs) -> LibraryPaths:
    """The library of that folder, or else the one in the folder of all studies."""
    return LibraryPaths(absolute_path(named)) if named is not None else runs.library


def absolute_path(path: str | Path) -> Path:
    """The absolute path; `..` is resolved, symbolic links are kept."""
    return Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100


def playlist_file(m3u8: Path | None, *, relative: bool) -> Path | None:
    """The playlist file that `--m3u8` names, if any.

    Raises:
        UserError: it cannot be written.
        click.UsageError: `--relative` is given without it.
    """
    require(
        m3u8 is not None or not relative,
        "--relative applies to the playlist file; add --m3u8 FILE",
    )
    if m3u8 is None:
        return None
    return require_writable(absolute_path(m3u8), option="--m3u8")


def bundle_of(named: str | None, runs: Runs, manifest: "LibraryManifest | None") -> "Bundle":
    """The bundle that `--bundle` names: a folder, or a champion's name.

    By default the bundle that the library was made with, at its path of then; for a new library,
    the only champion.

    Raises:
        UserError: there is none, or it is incomplete.
    """
    from chorale.search.bundle.bundle import Bundle

    if named is None and manifest is not None:
        return _bundle_of_library(manifest)
    if named is not None and not _is_champion(named, runs):
        return Bundle.open(absolute_path(named))
    from chorale.search.champion.registry.registry import Registry
    from chorale.search.commands import export
    from chorale.search.commands.champion_options import known_champions

    if named is not None:
        return export.champion_in_use(Registry(runs.champion(named)), named)
    known = known_champions(runs)
    if len(known) != 1:
        got = f"several champions ({', '.join(known)})" if known else "no champion"
        raise UserError(
            f"expected --bundle or a single champion, but '{runs.root}' has {got}; add --bundle "
            f"FOLDER or --bundle CHAMPION (chorale export STUDY makes a bundle)"
        )
    return export.champion_in_use(Registry(runs.champion(known[0])), known[0])


def _bundle_of_library(manifest: "LibraryManifest") -> "Bundle":
    from chorale.search.bundle.bundle import Bundle

    try:
        bundle = Bundle.open(Path(manifest.place))
    except UserError as error:
        raise UserError(
            f"{error}; the library was made with it; if it was moved, add --bundle FOLDER"
        ) from None
    if bundle.digest != manifest.bundle:
        raise UserError(
            f"the bundle in '{manifest.place}' is not the one that the library was made with "
            f"({bundle.digest[:12]}, not {manifest.bundle[:12]}); give that one with --bundle "
            f"FOLDER, or make a new library: chorale library add FOLDER --to LIBRARY"
        )
    return bundle


def _is_champion(name: str, runs: Runs) -> bool:
    from chorale.search.commands.champion_options import known_champions

    return not Path(name).expanduser().exists() and name in known_champions(runs)
