"""A copy of an SQLite ledger, as it is at one moment, also while studies are running."""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from chorale.search.ledger.database import LedgerError


def copy_ledger(ledger: Path, to: Path) -> None:
    """Copies a ledger with everything that was committed, in its write-ahead log, too.

    Raises:
        LedgerError: it cannot be read, or the copy cannot be written.
    """
    try:
        with (
            closing(sqlite3.connect(f"file:{quote(str(ledger))}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(to)) as copy,
        ):
            source.backup(copy)
            copy.execute("pragma journal_mode = delete")  # a single file, until it is opened again
    except sqlite3.Error as error:
        raise LedgerError(
            f"the ledger '{ledger}' cannot be copied to '{to}' ({error}); free some space, or give "
            f"another file"
        ) from error
