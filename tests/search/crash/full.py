"""A disk that is full at the k-th write of a sweep: for that write, or from it on. No test.

A write is: a file that is opened to be written, a file that is synced, an event that is appended,
a transaction of the ledger that is committed. All that are met are noted, so that whoever counts
knows what the k-th one was.
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
class Full:
    """`root` is on the disk that is full at the `k`-th write whose name fits `like`.

    Names are a file's below `root`, without the chance part of a temporary one, or "ledger".
    `for_good` means: from then on. What was met is appended to the file `notes`.
    """

    root: str
    k: int
    notes: str
    like: str = "*"
    for_good: bool = False


def install(full: Full) -> None:
    """From now on the disk is full as `full` says, as far as this process is concerned."""
    root = os.path.realpath(full.root) + os.sep
    left, last, noting = full.k, "", False

    def meet(name: str, path: str | None) -> None:
        nonlocal left, last, noting
        if name == last and name.startswith("open "):  # a temporary file, made and then opened
            return
        last, fits = name, fnmatch(name, full.like)
        left -= fits
        fails = (fits and left == 0) or (full.for_good and left <= 0)
        noting = True
        with Path(full.notes).open("a") as notes:
            notes.write(f"{'!' if fails else ' '}{name}\n")
        noting = False
        if fails:
            if path is None:
                raise sqlite3.OperationalError("database or disk is full")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    def hear(event: str, args: tuple[Any, ...]) -> None:
        if event != "open" or noting or not isinstance(args[0], str | bytes | os.PathLike):
            return
        mode, flags = args[1], args[2]
        writes = any(c in mode for c in "wax+") if mode else bool(flags & WRITING)
        path = os.path.realpath(os.fsdecode(args[0]))
        if writes and path.startswith(root):
            meet(f"open {_plain(path.removeprefix(root))}", path)

    def guarded(original: Callable[..., Any], what: str) -> Callable[..., Any]:
        def call(handle: int, *args: Any) -> Any:
            path = str(Path(f"/proc/self/fd/{handle}").readlink())
            if stat.S_ISREG(os.fstat(handle).st_mode) and path.startswith(root):
                meet(f"{what} {_plain(path.removeprefix(root))}", path)
            return original(handle, *args)

        return call

    import sqlalchemy as sa

    vars(os)["fsync"] = guarded(os.fsync, "sync")
    vars(os)["write"] = guarded(os.write, "write")
    sys.addaudithook(hear)
    sa.event.listen(sa.Engine, "commit", lambda _: meet(COMMIT, None))


def _plain(name: str) -> str:
    """The final name of a file, which may have a temporary one: `.NAME.xxxxxxxx.yaml`."""
    folder, _, last = name.rpartition("/")
    if last.startswith(".") and "." in last[1:]:
        final = last[1:].rpartition(".")[0].rpartition(".")[0] if last.count(".") > 2 else last
        last = final or last
    return f"{folder}/{last}" if folder else last
