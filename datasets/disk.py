"""Free disk space: checks before a download or unpacking, and errors of a full disk.

Checked before work starts, so that a full disk fails early.
"""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chorale.datasets.errors import UserError

UNWRITABLE_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""Errors of the target of a write: a full disk, a quota, a file size limit, a read-only disk."""


class NoRoomError(UserError):
    """A required file cannot be written; the text says which and why."""


def write_error_text(error: OSError) -> str:
    """The text of a failed write: "cannot write 'runs/x': No space left on device"."""
    where = f" '{error.filename}'" if error.filename else ""
    return f"cannot write{where}: {error.strerror}"


@contextmanager
def skip_if_unwritable(what: str, left_out: list[str]) -> Iterator[None]:
    """For an optional write: if the disk is full, appends to `left_out` instead of raising."""
    try:
        yield
    except OSError as error:
        if error.errno not in UNWRITABLE_ERRNOS:
            raise
        left_out.append(f"{what} ({error.strerror})")


def format_size(n_bytes: float) -> str:
    """A human-readable size: "512 bytes", "1.4 MiB", "7.2 GiB"."""
    for unit, size in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes:.0f} bytes"


def require_free_space(folder: Path, n_bytes: int, *, purpose: str) -> None:
    """Checks that the disk of `folder` has `n_bytes` free.

    Args:
        folder: an existing folder on that disk.
        n_bytes: how much will be written.
        purpose: what will be written, for the error: "fma_small.zip and its content".

    Raises:
        UserError: there is less free space than that.
    """
    free = shutil.disk_usage(folder).free
    if n_bytes > free:
        raise UserError(
            f"not enough disk space: {purpose} needs {format_size(n_bytes)}, but '{folder}' has "
            f"only {format_size(free)} free; free some, or give a folder on another disk with "
            f"--root"
        )
