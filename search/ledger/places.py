"""Why a ledger's file cannot be opened: SQLite itself does not say.

`search.ledger.database` asks here before it tells a person.
"""

import os
import re
from pathlib import Path

UNABLE = ("unable to open database file", "File exists", "Not a directory")
"""What SQLite and the system say of a place that is no place for a ledger."""

ERRNO = re.compile(r"^\[Errno \d+\] ")


def cause_at(path: Path | None, cause: str) -> str:
    """`cause`, or what is wrong with the place of the ledger's file where the cause is silent.

    Args:
        path: the file; None for a ledger on a server.
        cause: the first line of what was raised.
    """
    if path is not None and any(words in cause for words in UNABLE):
        cause = _found(path) or cause
    return ERRNO.sub("", cause)


def _found(path: Path) -> str | None:
    if path.is_dir():
        return f"'{path}' is a folder, and not a file"
    for folder in reversed(path.parents):
        if folder.exists() and not folder.is_dir():
            return f"'{folder}' is a file, and not a folder"
    if not path.parent.exists():
        return f"there is no folder '{path.parent}'"
    if not os.access(path.parent, os.W_OK):
        return f"the folder '{path.parent}' cannot be written"
    return None
