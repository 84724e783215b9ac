"""The words that commands about a library share: which library, and which bundle."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from chorale.datasets.errors import UserError
from chorale.search.paths import LibraryPaths, Runs

if TYPE_CHECKING:
    from chorale.search.bundle.bundle import Bundle
    from chorale.search.champion.library.files import Manifest


def runs_of(options: Mapping[str, str]) -> Runs:
    """The folder of all studies, in which the library lies unless another is named."""
    return Runs(Path(options.get("runs", "runs")).expanduser())


def library_paths(options: Mapping[str, str], option: str) -> LibraryPaths:
    """The library that `option` names, or else the one in the folder of all studies."""
    named = options.get(option)
    return LibraryPaths(absolute(named)) if named is not None else runs_of(options).library


def absolute(path: str) -> Path:
    """A path as it was typed, from the root on; `..` is taken out, links are kept."""
    return Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100


def bundle_of(options: Mapping[str, str], manifest: "Manifest | None") -> "Bundle":
    """The bundle that `--bundle` names: a folder, or a champion's name.

    Without it the one that the library was made with, from where it lay then; where there is no
    library yet, the only champion.

    Raises:
        UserError: there is none, or it is not whole.
    """
    from chorale.search.bundle.bundle import Bundle

    named = options.get("bundle")
    runs = runs_of(options)
    if named is None and manifest is not None:
        return _as_it_lay(manifest)
    if named is not None and not _is_champion(named, runs):
        return Bundle.open(absolute(named))
    from chorale.search.champion.registry.registry import Shelf
    from chorale.search.commands import export
    from chorale.search.commands.champion_words import known_champions

    if named is not None:
        return export.current(Shelf(runs.champion(named)), named)
    known = known_champions(runs)
    if len(known) != 1:
        there = f"there are several ({', '.join(known)})" if known else "there is none"
        raise UserError(
            f"expected a bundle to hear with, but of champions in '{runs.root}' {there}; add "
            f"--bundle FOLDER or --bundle CHAMPION (chorale export STUDY makes a bundle)"
        )
    return export.current(Shelf(runs.champion(known[0])), known[0])


def _as_it_lay(manifest: "Manifest") -> "Bundle":
    from chorale.search.bundle.bundle import Bundle

    try:
        bundle = Bundle.open(Path(manifest.place))
    except UserError as error:
        raise UserError(
            f"{error}; the library was made with it: where it lies elsewhere by now, add --bundle "
            f"FOLDER"
        ) from None
    if bundle.digest != manifest.bundle:
        raise UserError(
            f"the bundle in '{manifest.place}' is another than the library was made with "
            f"({bundle.digest[:12]}, not {manifest.bundle[:12]}); name that one with --bundle "
            f"FOLDER, or make a new library: chorale library add FOLDER --to LIBRARY"
        )
    return bundle


def _is_champion(name: str, runs: Runs) -> bool:
    from chorale.search.commands.champion_words import known_champions

    return not Path(name).expanduser().exists() and name in known_champions(runs)
