"""Diagnoses why an SQLite file cannot be opened, where SQLite's own error does not say.

`search.ledger.database` uses it for its error messages.
"""

import os
import re
from pathlib import Path

UNINFORMATIVE_CAUSES = ("unable to open database file", "File exists", "Not a directory")
"""Errors of SQLite and the system that do not name what is wrong with the path."""

ERRNO_PREFIX = re.compile(r"^\[Errno \d+\] ")


def explain_cause(path: Path | None, cause: str) -> str:
    """`cause`, or what is wrong with the path where `cause` does not say.

    Args:
        path: the ledger's file; None for a ledger on a server.
        cause: the first line of the error.
    """
    if path is not None and any(words in cause for words in UNINFORMATIVE_CAUSES):
        cause = _diagnose(path) or cause
    return ERRNO_PREFIX.sub("", cause)


def _diagnose(path: Path) -> str | None:
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
