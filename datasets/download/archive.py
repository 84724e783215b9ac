"""Lets a person name an archive where a dataset's folder is expected: unpacks it once, safely.

Dataset files whose `root` may be the archive itself use it; `datasets.download.unpack` does the
work.
"""

import hashlib
import logging
import os
import tempfile
from pathlib import Path

from chorale.datasets.download.archive_members import ArchiveError, Limits
from chorale.datasets.download.unpack import unpack
from chorale.datasets.errors import UserError

_log = logging.getLogger(__name__)


def unpacked(archive: Path, *, dataset: str, limits: Limits) -> Path:
    """The folder with what `archive` holds.

    It is made when it is first asked for, in `$XDG_CACHE_HOME/chorale` (else `~/.cache/chorale`)
    and under a name that has the archive's SHA-256 in it: a folder that exists is complete, and
    another archive gets another folder.

    Args:
        archive: a zip or tar.
        dataset: whose it is, in the user's words.
        limits: how much it may hold.

    Raises:
        UserError: it is no archive, is damaged, hostile or too large, or the cache folder cannot
            be written.
    """
    instead = "unpack a good copy yourself and give its folder with --dataset.root FOLDER"
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chorale"
        target = cache / f"{dataset}-{_sha256(archive)[:16]}"
        if not target.is_dir():
            _log.info("%s: unpacking %s to %s", dataset, archive, target)
            _unpack_beside(archive, target, limits)
    except ArchiveError as error:
        raise UserError(
            f"dataset '{dataset}': '{archive}' is refused: {error}; {instead}"
        ) from None
    except OSError as error:
        raise UserError(
            f"dataset '{dataset}': '{archive}' cannot be unpacked ({error}); set XDG_CACHE_HOME to "
            f"a folder with free space, or {instead}"
        ) from None
    return target


def _sha256(archive: Path) -> str:
    with archive.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _unpack_beside(archive: Path, target: Path, limits: Limits) -> None:
    """Each process unpacks in a folder of its own; the first to end gives the name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as own:
        made = Path(own) / "made"
        unpack(archive, made, inside="", limits=limits, progress=lambda _done, _total: None)
        try:
            made.rename(target)
        except OSError:
            # another process was faster; its folder is as good as ours
            if not target.is_dir():
                raise
