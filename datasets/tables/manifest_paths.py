"""The file that a manifest's path names: as written, by the end of a foreign path, or by its name.

Manifests are moved between machines, so that their paths can be those of Windows or of another
folder. A path is never read as a file that another reading fits equally well.
"""

import os
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from chorale.datasets.base import expand_home

How = Literal["as written", "backslashes", "end of the path", "file name"]

_DRIVE = re.compile(r"[A-Za-z]:/*|//[^/]+/")


@dataclass(frozen=True)
class FoundFile:
    """A file, its POSIX path relative to the root, and how the manifest's path led to it."""

    path: Path
    name: str
    how: How


@dataclass(frozen=True)
class NoFile:
    """There is no file; `hint` says what is nearly it, or which files it may be."""

    hint: str = ""


class FileFinder:
    """Finds the files of a manifest."""

    def __init__(
        self, root: Path, manifest_folder: Path, files: Callable[[], Sequence[str]]
    ) -> None:
        """`files` lists all files below `root`; it is called if a path is not found as written."""
        self._root, self._folder, self._files = root, manifest_folder, files

    def find(self, cell: str) -> FoundFile | NoFile:
        """The file that the path `cell` names.

        A path is relative to the root or to the manifest's folder. Otherwise it is the file that
        the longest end of the path names below the root; otherwise the one whose path has most of
        its end in common; at least its name, unless its folder is there without the file.
        """
        for written, how in _readings(cell):
            for folder in (self._root, self._folder):
                path = os.path.normpath(os.path.join(folder, written))  # noqa: PTH118
                if os.path.isfile(path):  # noqa: PTH113  Path.is_file raises for some names
                    name = os.path.relpath(path, self._root).replace(os.sep, "/")
                    return FoundFile(Path(path), name, how)
        parts = [part for part in _without_drive(cell.replace("\\", "/")).split("/") if part != "."]
        parts = [part for part in parts if part]
        return self._search(parts) if parts and ".." not in parts else NoFile()

    def _search(self, parts: list[str]) -> FoundFile | NoFile:
        keys = [unicodedata.normalize("NFC", part) for part in parts]
        how: How = "end of the path" if len(parts) > 1 else "file name"
        for start in range(len(keys)):
            end = "/".join(keys[start:])
            if end not in self._by_path:
                continue
            if start and start == len(keys) - 1 and keys[-2] in self._folders:
                return NoFile(f"only '{self._by_path[end]}' has that name")
            return self._found(self._by_path[end], how if start else "as written")
        named = self._by_name.get(keys[-1], [])
        if not named:
            other = self._by_lower_name.get(keys[-1].lower())
            return NoFile(f"there is '{other}'" if other else "")
        equal = [_equal_parts(keys, name.split("/")) for name in named]
        best = [name for name, n in zip(named, equal, strict=True) if n == max(equal)]
        if len(best) > 1:
            return NoFile(f"may be '{self._by_path[best[0]]}' or '{self._by_path[best[1]]}'")
        if max(equal) == 1 and len(keys) > 1 and (len(named) > 1 or keys[-2] in self._folders):
            return NoFile(f"only '{self._by_path[best[0]]}' has that name")
        return self._found(self._by_path[best[0]], how if max(equal) > 1 else "file name")

    def _found(self, name: str, how: How) -> FoundFile:
        return FoundFile(self._root / name, name, how)

    @cached_property
    def _by_path(self) -> dict[str, str]:
        """Path in composed form (as most systems write é) -> the path on the disk."""
        return {unicodedata.normalize("NFC", name): name for name in self._files()}

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        """File name -> its paths in composed form."""
        found: dict[str, list[str]] = {}
        for path in self._by_path:
            found.setdefault(path.rsplit("/", 1)[-1], []).append(path)
        return found

    @cached_property
    def _by_lower_name(self) -> dict[str, str]:
        return {name.lower(): files[0] for name, files in self._by_name.items()}

    @cached_property
    def _folders(self) -> set[str]:
        """The names of all folders with files."""
        return {part for path in self._by_path for part in path.split("/")[:-1]}


def _equal_parts(wanted: Sequence[str], got: Sequence[str]) -> int:
    """How many parts two paths have in common, from their ends."""
    n = 0
    while n < min(len(wanted), len(got)) and wanted[-1 - n] == got[-1 - n]:
        n += 1
    return n


def _readings(cell: str) -> list[tuple[str, How]]:
    """The path as it is written, and with the separators of Windows as those of this system."""
    readings: list[tuple[str, How]] = [(str(expand_home(cell)), "as written")]
    if "\\" in cell:
        readings.append((cell.replace("\\", "/"), "backslashes"))
    return readings


def _without_drive(path: str) -> str:
    return _DRIVE.sub("", path, count=1) if _DRIVE.match(path) else path
