"""Fault injection: a disk that is full at the k-th write of a sweep, once or from then on.

Writes are: opening a file for writing, syncing a file, appending an event, committing a transaction
of the ledger. All writes are logged, so that a test can tell which one was the k-th.
"""

import errno
import os
import sqlite3
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

COMMIT = "ledger"
WRITING = os.O_WRONLY | os.O_RDWR


@dataclass(frozen=True)
class DiskFull:
    """The disk of `root` is full at the `k`-th write whose name matches the pattern `like`.

    A write's name is its kind and the file's path below `root`, with the random part of temporary
    names removed, or "ledger". `permanent`: all later writes fail, too. Each write is appended to
    the file `write_log`, a failed one after "!".
    """

    root: str
    k: int
    write_log: str
    like: str = "*"
    permanent: bool = False


def install(full: DiskFull) -> None:
    """Makes this process's writes fail as `full` says."""
    root = os.path.realpath(full.root) + os.sep
    left, last, logging = full.k, "", False

    def count_write(name: str, path: str | None) -> None:
        nonlocal left, last, logging
        if name == last and name.startswith("open "):  # a temporary file, created and then opened
            return
        last, matches = name, fnmatch(name, full.like)
        left -= matches
        fails = (matches and left == 0) or (full.permanent and left <= 0)
        logging = True
        with Path(full.write_log).open("a") as log:
            log.write(f"{'!' if fails else ' '}{name}\n")
        logging = False
        if fails:
            if path is None:
                raise sqlite3.OperationalError("database or disk is full")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    def on_audit_event(event: str, args: tuple[Any, ...]) -> None:
        if event != "open" or logging or not isinstance(args[0], str | bytes | os.PathLike):
            return
        mode, flags = args[1], args[2]
        writes = any(c in mode for c in "wax+") if mode else bool(flags & WRITING)
        path = os.path.realpath(os.fsdecode(args[0]))
        if writes and path.startswith(root):
            count_write(f"open {_final_name(path.removeprefix(root))}", path)

    def counting(original: Callable[..., Any], what: str) -> Callable[..., Any]:
        def call(handle: int, *args: Any) -> Any:
            path = str(Path(f"/proc/self/fd/{handle}").readlink())
            if stat.S_ISREG(os.fstat(handle).st_mode) and path.startswith(root):
                count_write(f"{what} {_final_name(path.removeprefix(root))}", path)
            return original(handle, *args)

        return call

    import sqlalchemy as sa

    vars(os)["fsync"] = counting(os.fsync, "sync")
    vars(os)["write"] = counting(os.write, "write")
    sys.addaudithook(on_audit_event)
    sa.event.listen(sa.Engine, "commit", lambda _: count_write(COMMIT, None))


def _final_name(name: str) -> str:
    """The final name of a file that may have a temporary one, such as `.NAME.xxxxxxxx.yaml`."""
    folder, _, last = name.rpartition("/")
    if last.startswith(".") and "." in last[1:]:
        final = last[1:].rpartition(".")[0].rpartition(".")[0] if last.count(".") > 2 else last
        last = final or last
    return f"{folder}/{last}" if folder else last
