"""Cached, safe unpacking of an archive that is given instead of a dataset's folder.

Dataset files whose `root` may be the archive itself use it; `datasets.download.unpack` does the
work.
"""

import logging
import os
import tempfile
from pathlib import Path

from chorale.datasets.content import file_sha256
from chorale.datasets.download.archive_members import ArchiveError, ArchiveLimits
from chorale.datasets.download.unpack import unpack_archive
from chorale.datasets.errors import UserError

_log = logging.getLogger(__name__)


def unpack_cached(archive: Path, *, dataset: str, limits: ArchiveLimits) -> Path:
    """The folder with the content of `archive`.

    It is made on the first call in `$XDG_CACHE_HOME/chorale` (else `~/.cache/chorale`), under a
    name that contains the archive's SHA-256: a folder that exists is complete, and another archive
    gets another folder.

    Args:
        archive: a zip or tar.
        dataset: the dataset's name, for errors.
        limits: how much it may contain.

    Raises:
        UserError: it is no archive, is damaged, malicious or too large, or the cache folder cannot
            be written.
    """
    instead = "unpack a good copy yourself and give its folder with --dataset.root FOLDER"
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chorale"
        target = cache / f"{dataset}-{file_sha256(archive)[:16]}"
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


def _unpack_beside(archive: Path, target: Path, limits: ArchiveLimits) -> None:
    """Each process unpacks in a folder of its own; the first one to finish renames it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as own:
        unpacked = Path(own) / "unpacked"
        unpack_archive(
            archive, unpacked, inside="", limits=limits, progress=lambda _done, _total: None
        )
        try:
            unpacked.rename(target)
        except OSError:
            # another process was faster; its folder has the same content
            if not target.is_dir():
                raise
