"""Unpacks a hostile zip or tar into a folder that is there wholly or not at all.

`datasets.download.fetch` uses it for what it has downloaded; `datasets.download.archive_members`
decides what may be written.
"""

import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from chorale.datasets.atomic import rename_synced
from chorale.datasets.disk import require_free
from chorale.datasets.download.archive_members import (
    ArchiveError,
    Limits,
    Member,
    members,
    refused_if_damaged,
)

BLOCK_BYTES = 1024 * 1024


def unpack(
    archive: Path,
    target: Path,
    *,
    inside: str,
    limits: Limits,
    progress: Callable[[int, int], None],
) -> int:
    """Makes the folder `target` of the archive's folder `inside`; gives the number of its files.

    The archive is gone through once before anything is written. Files get this process's rights,
    not those that the archive names; empty folders are left out.

    Args:
        archive: a zip, or a tar (plain, gzip, bzip2, xz).
        target: a folder that is not there yet, or is empty.
        inside: a folder of the archive, with `/` between its parts; all of it where empty.
        limits: how much the whole archive may hold.
        progress: is told how many of how many bytes are written.

    Raises:
        ArchiveError: it is damaged or hostile, or has no files in `inside`.
        UserError: the disk has no room for it.
        OSError: something cannot be written.
    """
    top = PurePosixPath(inside)
    sizes = [file.size for file in members(archive, limits) if file.path.is_relative_to(top)]
    if not sizes:
        raise ArchiveError(f"it has no files in '{inside}'" if inside else "it has no files")
    total, done = sum(sizes), 0
    target.parent.mkdir(parents=True, exist_ok=True)
    require_free(target.parent, total, purpose=f"unpacking {archive.name}")
    with _becoming(target) as folder:
        for file in members(archive, limits):
            if not file.path.is_relative_to(top):
                continue
            copy = folder / file.path.relative_to(top)
            copy.parent.mkdir(parents=True, exist_ok=True)
            with copy.open("xb") as written:
                for block in _content(file):
                    written.write(block)
                    done += len(block)
                    progress(done, total)
    return len(sizes)


def _content(file: Member) -> Iterator[bytes]:
    """The bytes of a member, as many as it said that it has."""
    got, crc32 = 0, 0
    with refused_if_damaged():
        source = file.open()
    with source:
        while got < file.size:
            with refused_if_damaged():
                block = source.read(min(BLOCK_BYTES, file.size - got))
            if not block:
                raise ArchiveError(f"'{file.path}' breaks off after {got} of {file.size} bytes")
            got += len(block)
            crc32 = zlib.crc32(block, crc32)
            yield block
    if file.crc32 not in (None, crc32):
        raise ArchiveError(f"'{file.path}' is damaged: its CRC-32 does not fit")


@contextmanager
def _becoming(target: Path) -> Iterator[Path]:
    """A new folder beside `target` that gets its name when all went well, and else is removed."""
    folder = target.with_name(f".{target.name}.unpacking")
    # what a process that was killed has left
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
        # one sync for thousands of small files, before the name makes them valid
        os.sync()
        rename_synced(folder, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
