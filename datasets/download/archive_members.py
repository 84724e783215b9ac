"""Validated members of an untrusted zip or tar: anything suspicious rejects the whole archive.

`datasets.download.unpack` writes the members that this module yields, and nothing else.
"""

import bz2
import lzma
import os
import re
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from chorale.datasets.disk import format_size

DAMAGE_ERRORS = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    struct.error,
    lzma.LZMAError,
    OSError,  # damage in bz2 and gzip, or a disk that cannot be read
    EOFError,
    NotImplementedError,  # a compression method that Python lacks
    RuntimeError,  # an encrypted zip
    ValueError,
    OverflowError,
)
"""Exceptions of the standard library for damaged, truncated, unsupported or encrypted archives."""

TEXT_HEADERS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
"""Tar headers whose text `tarfile` reads into memory without a limit."""
MAX_HEADER_BYTES = 1024 * 1024
ZIP_HEADER_BYTES = 30
"""Length of a local file header up to the member's name; its last four bytes are the lengths of
the name and of the extra field."""
MAX_NAME_BYTES = 255
MAX_PATH_BYTES = 1024

EntryKind = Literal["file", "folder", "symbolic link", "hard link", "device", "sparse file"]


class ArchiveError(Exception):
    """An archive is damaged or malicious; the text says why."""


@dataclass(frozen=True)
class ArchiveLimits:
    """Limits of unpacking: number of entries, total bytes, and compression ratio."""

    entries: int = 250_000
    n_bytes: int = 256 * 1024**3
    ratio: int = 100
    harmless_bytes: int = 64 * 1024**2
    """up to this size the ratio is not checked"""


DEFAULT_LIMITS = ArchiveLimits()


@dataclass(frozen=True)
class ArchiveMember:
    """A file of an archive: its path, its size in bytes, and how to read it."""

    path: PurePosixPath
    size: int
    open: Callable[[], IO[bytes]]
    crc32: int | None
    """of the content, where the archive has one"""


@dataclass(frozen=True)
class _Entry:
    name: str
    kind: EntryKind
    size: int
    open: Callable[[], IO[bytes]]
    crc32: int | None = None


def archive_members(archive: Path, limits: ArchiveLimits) -> Iterator[ArchiveMember]:
    """Yields the files of a zip or tar (plain, gzip, bzip2, xz) in its order, each validated.

    A member can be opened until the next one is requested. `size` is what its header states; a
    reader must not read more. To validate the whole archive, iterate over it before writing any.

    Raises:
        ArchiveError: a name leads outside, two entries have one name (or names that differ only in
            case), an entry is no plain file or folder, a limit is exceeded, or the archive is
            damaged, encrypted or of another format.
    """
    with damage_as_archive_error():
        archive_bytes = archive.stat().st_size
        entries = _zip_entries(archive) if zipfile.is_zipfile(archive) else _tar_entries(archive)
    gate = _Gate(limits, archive_bytes)
    while True:
        with damage_as_archive_error():
            entry = next(entries, None)
        if entry is None:
            return
        path = gate.admit(entry)
        if entry.kind == "file":
            yield ArchiveMember(path, entry.size, entry.open, entry.crc32)


@contextmanager
def damage_as_archive_error() -> Iterator[None]:
    """Converts exceptions of a damaged archive to `ArchiveError`."""
    try:
        yield
    except DAMAGE_ERRORS as error:
        # tarfile adds a line for each of its readers
        why = str(error).partition(":\n")[0] or type(error).__name__
        raise ArchiveError(f"it is no zip or tar, or a damaged one ({why})") from None


def _zip_entries(archive: Path) -> Iterator[_Entry]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            mode = stat.S_IFMT(info.external_attr >> 16)
            kind: EntryKind = "folder" if info.orig_filename.endswith("/") else "file"
            if mode == stat.S_IFLNK:
                kind = "symbolic link"
            elif mode not in (0, stat.S_IFREG, stat.S_IFDIR):
                kind = "device"
            # the original name: zipfile truncates the other one at a null byte
            name, open_member = info.orig_filename, _zip_opener(opened, info)
            yield _Entry(name, kind, info.file_size, open_member, info.CRC)


def _zip_opener(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], IO[bytes]]:
    if info.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return lambda: opened.open(info)
    if info.compress_type != zipfile.ZIP_BZIP2:
        raise ArchiveError(f"{info.orig_filename!r} is compressed by method {info.compress_type}")

    def open_bzip2() -> IO[bytes]:
        # zipfile would unpack 4 KiB of a zip bomb to gigabytes at once, bz2 streams it
        opened.open(info).close()  # compares the two headers
        source = opened.fp
        if source is None:
            raise zipfile.BadZipFile("it is closed")
        source.seek(info.header_offset + ZIP_HEADER_BYTES - 4)
        n_name_bytes, n_extra_bytes = struct.unpack("<HH", source.read(4))
        source.seek(n_name_bytes + n_extra_bytes, os.SEEK_CUR)
        return bz2.BZ2File(source)

    return open_bzip2


class _Header(tarfile.TarInfo):
    """A tar header; those for which `tarfile` would fill the memory are rejected unread."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Header":
        header = super().frombuf(buf, encoding, errors)
        n_text_bytes = header.size if header.type in TEXT_HEADERS else 0
        if header.size < 0 or n_text_bytes > MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header claims {header.size} bytes")
        if header.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError(f"{header.name!r} is a sparse file")
        return header

    def _proc_gnusparse_10(self, *_: object) -> None:
        # this kind of sparse file has the number of its holes in its content, without a limit
        raise tarfile.ReadError(f"{self.name!r} is a sparse file")


def _tar_entries(archive: Path) -> Iterator[_Entry]:
    with tarfile.open(archive, "r:*", tarinfo=_Header) as opened:
        for info in opened:
            yield _Entry(info.name, _tar_kind(info), info.size, _tar_opener(opened, info))
        # tarfile treats a broken header as the end; at the true end there is a block of zeros
        source = opened.fileobj
        if source is not None:
            source.seek(opened.offset)
        if source is None or source.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("it is truncated")


def _tar_kind(info: tarfile.TarInfo) -> EntryKind:
    if info.issparse():
        return "sparse file"
    if info.isreg():
        return "file"
    if info.isdir():
        return "folder"
    if info.issym():
        return "symbolic link"
    return "hard link" if info.islnk() else "device"


def _tar_opener(opened: tarfile.TarFile, info: tarfile.TarInfo) -> Callable[[], IO[bytes]]:
    def open_member() -> IO[bytes]:
        source = opened.extractfile(info)
        if source is None:
            raise tarfile.ReadError(f"{info.name!r} is no file")
        return source

    return open_member


class _Gate:
    """Validates the entries of one archive, one after the other."""

    def __init__(self, limits: ArchiveLimits, archive_bytes: int) -> None:
        self._limits = limits
        self._max_bytes = min(
            limits.n_bytes, max(limits.harmless_bytes, limits.ratio * archive_bytes)
        )
        self._seen: dict[str, tuple[str, bool]] = {}
        self._n_entries = 0
        self._n_bytes = 0

    def admit(self, entry: _Entry) -> PurePosixPath:
        """The path of the entry below the target, if it is valid."""
        path = _safe_path(entry.name)
        if entry.kind not in ("file", "folder"):
            raise ArchiveError(f"{entry.name!r} is a {entry.kind}; only files are unpacked")
        if entry.kind == "file" and not path.parts:
            raise ArchiveError("it has a file without a name")
        self._n_entries += 1
        self._n_bytes += entry.size if entry.kind == "file" else 0
        for folder in path.parents:
            self._claim(folder, is_file=False)
        self._claim(path, is_file=entry.kind == "file")
        if max(self._n_entries, len(self._seen)) > self._limits.entries:
            raise ArchiveError(f"it has more than the {self._limits.entries} entries allowed")
        if self._n_bytes > self._max_bytes:
            raise ArchiveError(
                f"it would unpack to {format_size(self._n_bytes)} or more, and "
                f"{format_size(self._max_bytes)} are allowed for one of its size"
            )
        return path

    def _claim(self, path: PurePosixPath, *, is_file: bool) -> None:
        """Registers the name of a file or folder; that of a folder may be repeated."""
        name = str(path)
        folded = unicodedata.normalize("NFC", name).casefold()
        if folded not in self._seen:
            self._seen[folded] = (name, is_file)
            return
        known, was_file = self._seen[folded]
        if known != name:
            raise ArchiveError(f"{known!r} and {name!r} are the same name on some disks")
        if is_file or was_file:
            raise ArchiveError(f"it has two entries named {name!r}")


def _safe_path(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or re.search(r"\\|^.:", name):
        raise ArchiveError(f"the name {name!r} leads out of the archive")
    if re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", name):
        raise ArchiveError(f"the name {name!r} has forbidden characters")
    sizes = [len(part.encode()) for part in path.parts]
    if max(sizes, default=0) > MAX_NAME_BYTES or sum(sizes) + len(sizes) > MAX_PATH_BYTES:
        raise ArchiveError(f"the name {name[:40]!r}... is too long")
    return path
