"""Room on a disk: how much there is, and sizes as people say them.

Downloading and unpacking ask here before they start, so that a full disk is met early.
"""

import shutil
from pathlib import Path

from datasets.errors import UserError


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
