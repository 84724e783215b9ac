"""Room on a disk: how much there is, sizes as people say them, and what to do where there is none.

Downloading and unpacking ask here before they start, so that a full disk is met early.
"""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chorale.datasets.errors import UserError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""Errors of the place that is written to: a full disk, a quota, a limit, a read-only one."""


class NoRoomError(UserError):
    """What must be written cannot be; its text says where and why."""


def no_room(error: OSError) -> str:
    """What could not be written, and why: "cannot write 'runs/x': No space left on device"."""
    where = f" '{error.filename}'" if error.filename else ""
    return f"cannot write{where}: {error.strerror}"


@contextmanager
def unless_full(what: str, left_out: list[str]) -> Iterator[None]:
    """For a write that nothing depends on: where there is no room, `left_out` says so instead."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        left_out.append(f"{what} ({error.strerror})")


def size_text(n_bytes: float) -> str:
    """A size as a person says it: "512 bytes", "1.4 MiB", "7.2 GiB"."""
    for unit, size in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes:.0f} bytes"


def require_free(folder: Path, n_bytes: int, *, purpose: str) -> None:
    """Refuses to begin what the disk of `folder` has no room for.

    Args:
        folder: an existing folder on the disk in question.
        n_bytes: what will be written.
        purpose: what it will be, in the user's words: "fma_small.zip and what it unpacks to".

    Raises:
        UserError: there is less room than that.
    """
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise UserError(
            f"not enough room: {purpose} needs {size_text(n_bytes)}, but '{folder}' has only "
            f"{size_text(free)} free; make room, or give a folder on another disk with --root"
        )
