"""The files below a folder: each once, also where links lead to it; hidden ones apart.

`datasets.catalog.folder` makes its tracks from it, and accounts for every file with it.
"""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from chorale.datasets.errors import UserError

SYSTEM_FOLDERS = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found")
"""Folders that unpacking on macOS, a Synology server, Windows and Linux make: they are hidden."""

APPLE_DOUBLE = "._"
"""Prefix of the files in which macOS keeps attributes beside a file, on disks of other systems."""


@dataclass(frozen=True)
class Listing:
    """What is below `root`, as sorted POSIX paths relative to it.

    `files` are visible; `folders` are visible, too; `hidden` are hidden files, `hidden_folders`
    were not entered; `broken` are links to nothing, and what is no regular file.
    """

    root: Path
    files: tuple[str, ...]
    folders: tuple[str, ...]
    hidden: tuple[str, ...]
    hidden_folders: tuple[str, ...]
    broken: tuple[str, ...]

    def all_hidden(self) -> list[str]:
        """The hidden files, and all files in hidden folders, sorted."""
        found = list(self.hidden)
        for name in self.hidden_folders:
            for folder, _, names in os.walk(self.root / name):
                below = Path(folder).relative_to(self.root).as_posix()
                found += [f"{below}/{file}" for file in names]
        # they are only counted, so that a name that is not valid UTF-8 is no error
        return sorted(name.encode("utf-8", "backslashreplace").decode() for name in found)


def list_files(root: Path) -> Listing:
    """Lists everything below `root`.

    Each folder is read once: under its own path if it is below `root`, otherwise under the first
    link to it. So circular links terminate, and a link beside a folder does not replace its path.

    Raises:
        UserError: a folder cannot be read, or a file's name is not valid UTF-8.
    """
    seen: set[tuple[int, int]] = set()
    files: list[str] = []
    folders: list[str] = []
    hidden: list[str] = []
    hidden_folders: list[str] = []
    broken: list[str] = []
    pending = [root]
    while pending:
        for folder, below, names in os.walk(pending.pop(0), onerror=_refuse_unreadable):
            here = Path(folder)
            status = here.stat()
            if (status.st_dev, status.st_ino) in seen:
                below.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            start = "" if here == root else here.relative_to(root).as_posix() + "/"
            if start:
                folders.append(start.rstrip("/"))
            links = {name for name in below if (here / name).is_symlink()}
            visible = sorted(name for name in below if not _is_hidden(name))
            hidden_folders += [
                start + name for name in below if _is_hidden(name) and name not in links
            ]
            pending += [here / name for name in visible if name in links]
            below[:] = [name for name in visible if name not in links]
            for name in names:
                if name.startswith("."):
                    hidden.append(start + name)
                elif (here / name).is_file():
                    files.append(start + name)
                else:
                    broken.append(start + name)
    for name in (*files, *folders, *broken):
        _refuse_undecodable(name)
    parts = (files, folders, hidden, hidden_folders, broken)
    return Listing(root, *(tuple(sorted(part)) for part in parts))


def _is_hidden(folder: str) -> bool:
    return folder.startswith(".") or folder in SYSTEM_FOLDERS


def ending_of(name: str) -> str:
    """The ending of a file's name in lower case, without its dot; empty where it has none."""
    stem, dot, ending = name.rsplit("/", 1)[-1].rpartition(".")
    return ending.lower() if dot and stem else ""


def count_text(endings: Iterable[str]) -> str:
    """How often each ending occurs, the most frequent first: "16 m4a, 2 wma"."""
    counted = Counter(ending or "without an ending" for ending in endings)
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{n} {ending}" for ending, n in ordered)


def _refuse_unreadable(error: OSError) -> None:
    raise UserError(
        f"dataset 'folder': '{error.filename}' cannot be read ({error.strerror}); "
        f"change its permissions, or give another --dataset.root FOLDER"
    )


def _refuse_undecodable(name: str) -> None:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise UserError(
            f"dataset 'folder': the file name {name!r} is not valid UTF-8, so it cannot be a "
            f"track id; rename the file"
        ) from None
