"""Safe, atomic unpacking of an untrusted zip or tar into a new folder.

`datasets.download.fetch` uses it for downloads; `datasets.download.archive_members` decides what
may be written.
"""

import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from chorale.datasets.atomic import rename_synced
from chorale.datasets.disk import require_free_space
from chorale.datasets.download.archive_members import (
    ArchiveError,
    ArchiveLimits,
    ArchiveMember,
    archive_members,
    damage_as_archive_error,
)

_BLOCK_BYTES = 1024 * 1024


def unpack_archive(
    archive: Path,
    target: Path,
    *,
    inside: str,
    limits: ArchiveLimits,
    progress: Callable[[int, int], None],
) -> int:
    """Unpacks the archive's folder `inside` to the folder `target`; returns the number of files.

    The whole archive is validated before anything is written. Files get the default permissions of
    this process, not those in the archive; empty folders are left out.

    Args:
        archive: a zip, or a tar (plain, gzip, bzip2, xz).
        target: a folder that does not exist yet, or is empty.
        inside: a folder of the archive, with `/` between its parts; all of it where empty.
        limits: how much the whole archive may contain.
        progress: called with the bytes written and their total.

    Raises:
        ArchiveError: it is damaged or malicious, or has no files in `inside`.
        UserError: there is not enough disk space.
        OSError: a file cannot be written.
    """
    top = PurePosixPath(inside)
    sizes = [
        file.size for file in archive_members(archive, limits) if file.path.is_relative_to(top)
    ]
    if not sizes:
        raise ArchiveError(f"it has no files in '{inside}'" if inside else "it has no files")
    total, done = sum(sizes), 0
    target.parent.mkdir(parents=True, exist_ok=True)
    require_free_space(target.parent, total, purpose=f"unpacking {archive.name}")
    with _becoming(target) as folder:
        for file in archive_members(archive, limits):
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


def unpack_file(archive: Path, name: str, target: Path, *, limits: ArchiveLimits) -> None:
    """Unpacks one file of an archive to the file `target`, which does not exist yet.

    The whole archive is validated before anything is written.

    Args:
        archive: as in `unpack_archive`.
        name: the file's name in the archive, with `/` between its parts.
        target: the file to write; not atomically.
        limits: how much the whole archive may contain.

    Raises:
        ArchiveError: it is damaged or malicious, or has no such file.
        OSError: the file cannot be written.
    """
    wanted = PurePosixPath(name)
    if wanted not in [file.path for file in archive_members(archive, limits)]:
        raise ArchiveError(f"it has no file '{name}'")
    for file in archive_members(archive, limits):
        if file.path == wanted:
            with target.open("xb") as written:
                for block in _content(file):
                    written.write(block)


def _content(file: ArchiveMember) -> Iterator[bytes]:
    """The bytes of a member, as many as its header states."""
    got, crc32 = 0, 0
    with damage_as_archive_error():
        source = file.open()
    with source:
        while got < file.size:
            with damage_as_archive_error():
                block = source.read(min(_BLOCK_BYTES, file.size - got))
            if not block:
                raise ArchiveError(f"'{file.path}' ends after {got} of {file.size} bytes")
            got += len(block)
            crc32 = zlib.crc32(block, crc32)
            yield block
    if file.crc32 not in (None, crc32):
        raise ArchiveError(f"'{file.path}' is damaged: its CRC-32 does not match")


@contextmanager
def _becoming(target: Path) -> Iterator[Path]:
    """A new folder beside `target` that is renamed to it on success, and otherwise removed."""
    folder = target.with_name(f".{target.name}.unpacking")
    # left by a process that was killed
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
        # one sync for thousands of small files, before the rename makes them valid
        os.sync()
        rename_synced(folder, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
