"""Malicious and damaged archives: none of them may write anything."""

import bz2
import gzip
import io
import lzma
import random
import shutil
import stat
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from chorale.datasets.download.archive_members import (
    DEFAULT_LIMITS,
    ArchiveError,
    ArchiveLimits,
    archive_members,
)
from chorale.datasets.download.unpack import unpack_archive
from chorale.datasets.errors import UserError


def zipped(path: Path, *files: tuple[str, bytes], mode: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            info = zipfile.ZipInfo(name)
            # an info of its own keeps the name as it is; `writestr(name)` would fix it
            info.filename = info.orig_filename = name
            info.external_attr = mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return path


def tarred(path: Path, *files: tuple[str, bytes], mode: str = "w", **fields: object) -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            for field, value in fields.items():
                setattr(member, field, value)
            archive.addfile(member, io.BytesIO(content))
    return path


def opened(
    archive: Path, *, inside: str = "", limits: ArchiveLimits = DEFAULT_LIMITS
) -> dict[str, bytes]:
    target = archive.parent / "opened"
    unpack_archive(
        archive, target, inside=inside, limits=limits, progress=lambda _done, _total: None
    )
    return {
        path.relative_to(target).as_posix(): path.read_bytes()
        for path in target.rglob("*")
        if path.is_file()
    }


def refused(archive: Path, why: str, *, limits: ArchiveLimits = DEFAULT_LIMITS) -> None:
    before = sorted(archive.parent.iterdir())
    with pytest.raises(ArchiveError, match=why):
        opened(archive, limits=limits)
    assert sorted(archive.parent.iterdir()) == before


MAKERS = [zipped, tarred]
GOOD = (("top/a.wav", b"sound a"), ("top/deep/b.wav", b"b" * 3000), ("other.txt", b""))


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_every_kind_of_tar_is_unpacked(
    tmp_path: Path, mode: str, format: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tarfile.TarFile, "format", format)
    long = ("top/" + "n" * 90 + "/" + "m" * 90, b"a long name")
    assert opened(tarred(tmp_path / "a", *GOOD, long, mode=mode)) == dict([*GOOD, long])


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_every_usual_kind_of_zip_is_unpacked(tmp_path: Path, method: int) -> None:
    archive = tmp_path / "a"
    with zipfile.ZipFile(archive, "w", method) as made:
        for name, content in GOOD:
            made.writestr(name, content)
    archive.write_bytes(b"something before it" + archive.read_bytes())
    assert opened(archive) == dict(GOOD)


def test_a_zip_with_an_unsupported_compression_method_raises(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w", zipfile.ZIP_LZMA) as made:
        made.writestr("a.wav", b"sound")
    refused(tmp_path / "a", "compressed by method 14")


def test_a_zip_bomb_that_hides_its_size_is_not_unpacked_in_memory(tmp_path: Path) -> None:
    archive = tmp_path / "a"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_BZIP2) as made:
        made.writestr("a.wav", bytes(50_000_000))
    data = archive.read_bytes()
    archive.write_bytes(data.replace(struct.pack("<I", 50_000_000), struct.pack("<I", 1000)))
    tracemalloc.start()
    refused(archive, "CRC-32 does not match")
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 10_000_000


@pytest.mark.parametrize("make", MAKERS)
def test_one_folder_of_an_archive_can_be_unpacked(
    tmp_path: Path, make: Callable[..., Path]
) -> None:
    archive = make(tmp_path / "a", ("./top//a.wav", b"a"), *GOOD[1:])
    assert opened(archive, inside="top") == {"a.wav": b"a", "deep/b.wav": b"b" * 3000}


@pytest.mark.parametrize("make", MAKERS)
def test_a_folder_that_is_not_in_the_archive_raises(
    tmp_path: Path, make: Callable[..., Path]
) -> None:
    with pytest.raises(ArchiveError, match="no files in 'to'"):
        opened(make(tmp_path / "a", *GOOD), inside="to")


def test_permissions_and_owners_of_an_archive_are_ignored(tmp_path: Path) -> None:
    opened(zipped(tmp_path / "a", ("run", b"#!"), mode=stat.S_IFREG | 0o6777))
    status = (tmp_path / "opened" / "run").stat()
    assert not status.st_mode & (stat.S_ISUID | stat.S_ISGID | 0o111)


HOSTILE_NAMES = {
    "../out.wav": "leads out",
    "a/../../out.wav": "leads out",
    "/etc/out.wav": "leads out",
    "//host/out.wav": "leads out",
    "..\\out.wav": "leads out",
    "C:out.wav": "leads out",
    "a\nb.wav": "characters",
    "\x1b[2J": "characters",
    "n" * 256: "too long",
    "/".join(["n" * 200] * 6): "too long",
    ".": "without a name",
}


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=lambda name: repr(name[:12]))
def test_a_malicious_name_raises(tmp_path: Path, make: Callable[..., Path], name: str) -> None:
    refused(make(tmp_path / "a", *GOOD, (name, b"x")), HOSTILE_NAMES[name])


def test_a_name_with_a_null_byte_raises(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a", ("a.wav?/../../x", b"x"))
    archive.write_bytes(archive.read_bytes().replace(b"?", b"\x00"))
    refused(archive, "leads out|characters|no zip or tar")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    ("names", "why"),
    [
        (("a/b.wav", "a/b.wav"), "two entries named 'a/b.wav'"),
        (("a/b.wav", "a//./b.wav"), "two entries named 'a/b.wav'"),
        (("a/b.wav", "a/B.wav"), "'a/b.wav' and 'a/B.wav' are the same name"),
        (("a/b.wav", "A/c.wav"), "'a' and 'A' are the same name"),
        (("caf\u00e9", "cafe\u0301"), "are the same name"),
        (("stra\u00dfe", "STRASSE"), "are the same name"),
        (("a", "a/b.wav"), "two entries named 'a'"),
        (("a/b.wav", "a"), "two entries named 'a'"),
    ],
)
def test_two_entries_for_the_same_file_raise(
    tmp_path: Path, make: Callable[..., Path], names: tuple[str, str], why: str
) -> None:
    refused(make(tmp_path / "a", *((name, b"x") for name in names)), why)


@pytest.mark.parametrize(
    ("type", "why"),
    [
        (tarfile.SYMTYPE, "symbolic link"),
        (tarfile.LNKTYPE, "hard link"),
        (tarfile.CHRTYPE, "device"),
        (tarfile.BLKTYPE, "device"),
        (tarfile.FIFOTYPE, "device"),
        (tarfile.GNUTYPE_SPARSE, r"damaged one \('odd' is a sparse file\)"),
    ],
)
@pytest.mark.parametrize("linkname", ["/etc/passwd", "../../out", "a.wav"])
def test_special_files_in_a_tar_raise(tmp_path: Path, type: bytes, why: str, linkname: str) -> None:
    archive = tmp_path / "a"
    with tarfile.open(archive, "w") as made:
        made.addfile(tarfile.TarInfo("a.wav"))
        odd = tarfile.TarInfo("odd")
        odd.type, odd.linkname = type, linkname
        made.addfile(odd)
    refused(archive, why)


@pytest.mark.parametrize(
    ("mode", "why"),
    [(stat.S_IFLNK, "symbolic link"), (stat.S_IFCHR, "device"), (stat.S_IFIFO, "device")],
)
def test_special_files_in_a_zip_raise(tmp_path: Path, mode: int, why: str) -> None:
    refused(zipped(tmp_path / "a", ("odd", b"/etc/passwd"), mode=mode | 0o777), why)


@pytest.mark.parametrize(
    "headers",
    [
        {"GNU.sparse.map": "0,1", "GNU.sparse.size": "1"},
        {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9"},
    ],
)
def test_sparse_files_raise_in_every_tar_format(tmp_path: Path, headers: dict[str, str]) -> None:
    files = [("a", b"1\n0\n1\n"), ("b", b"1\n0\n1\n")]
    refused(tarred(tmp_path / "a", *files, pax_headers=headers), "sparse file|could not be opened")
    with tarfile.open(tmp_path / "b", "w") as made:
        made.addfile(tarfile.TarInfo("plain"))
        odd = tarfile.TarInfo("odd")
        odd.pax_headers = headers
        made.addfile(odd, io.BytesIO())
    refused(tmp_path / "b", "sparse file")


@pytest.mark.parametrize("make", MAKERS)
def test_more_entries_than_allowed_raise(tmp_path: Path, make: Callable[..., Path]) -> None:
    files = [(f"{i}.wav", b"") for i in range(11)]
    refused(
        make(tmp_path / "a", *files), "more than the 10 entries", limits=ArchiveLimits(entries=10)
    )
    assert len(opened(make(tmp_path / "b", *files[:9]), limits=ArchiveLimits(entries=10))) == 9


@pytest.mark.parametrize("make", MAKERS)
def test_folders_count_as_entries(tmp_path: Path, make: Callable[..., Path]) -> None:
    archive = make(tmp_path / "a", ("/".join("abcdefghijk"), b""))
    refused(archive, "more than the 10 entries", limits=ArchiveLimits(entries=10))


@pytest.mark.parametrize("make", MAKERS)
def test_more_bytes_than_allowed_raise(tmp_path: Path, make: Callable[..., Path]) -> None:
    archive = make(tmp_path / "a", ("a.wav", b"1" * 60), ("b.wav", b"1" * 41))
    refused(archive, "would unpack to 101 bytes", limits=ArchiveLimits(n_bytes=100))
    assert len(opened(archive, limits=ArchiveLimits(n_bytes=101))) == 2


@pytest.mark.parametrize(
    "make", [zipped, lambda *words: tarred(*words, mode="w:gz")], ids=["zip", "tar.gz"]
)
def test_a_high_compression_ratio_raises(tmp_path: Path, make: Callable[..., Path]) -> None:
    archive = make(tmp_path / "a", ("a.wav", bytes(1_000_000)))
    limits = ArchiveLimits(harmless_bytes=1000)
    refused(archive, "would unpack to 976.6 KiB or more", limits=limits)
    assert len(opened(archive)) == 1


def test_a_zip_with_overlapping_entries_raises(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a", ("0.wav", random.Random(0).randbytes(1000)))
    data = bytearray(archive.read_bytes())
    start = data.index(b"PK\x01\x02")
    central, end = bytes(data[start : data.index(b"PK\x05\x06")]), data.index(b"PK\x05\x06")
    entries = b"".join(central.replace(b"0.wav", b"%05d" % i) for i in range(300))
    tail = bytearray(data[end:])
    tail[8:12] = (300).to_bytes(2, "little") * 2
    tail[12:16] = len(entries).to_bytes(4, "little")
    archive.write_bytes(bytes(data[:start]) + entries + bytes(tail))
    refused(archive, "would unpack to|damaged", limits=ArchiveLimits(ratio=10, harmless_bytes=1000))


def test_no_more_bytes_are_read_than_the_header_states(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a", ("a.wav", b"1" * 1000))
    data = archive.read_bytes()
    # both of its headers state 10 bytes
    archive.write_bytes(data.replace((1000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    refused(archive, "damaged|ends after")


@pytest.mark.parametrize(
    "compress", [lambda data: data, gzip.compress, bz2.compress, lzma.compress]
)
def test_a_tar_with_a_huge_header_raises_without_reading_it(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 2**32
    # the first file: a header and one block
    good = tarred(tmp_path / "good", *GOOD).read_bytes()
    archive = tmp_path / "a"
    archive.write_bytes(compress(good[:1024] + header.tobuf() + bytes(9999)))
    refused(archive, "a header claims 4294967296 bytes")
    archive.write_bytes(compress(header.tobuf() + bytes(9999)))
    refused(archive, "could not be opened")


@pytest.mark.parametrize("n_kept", [100, 512, 1024, 1500, 2048, 4096])
def test_a_truncated_tar_raises(tmp_path: Path, n_kept: int) -> None:
    archive = tarred(tmp_path / "a", *GOOD)
    assert n_kept < len(archive.read_bytes())
    archive.write_bytes(archive.read_bytes()[:n_kept])
    refused(archive, "damaged")


def test_a_tar_with_a_broken_header_in_the_middle_raises(tmp_path: Path) -> None:
    archive = tarred(tmp_path / "a", *GOOD)
    data = bytearray(archive.read_bytes())
    data[1024 + 3] ^= 1
    archive.write_bytes(data)
    refused(archive, "truncated")


def test_an_encrypted_zip_raises(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a", ("a.wav", b"1" * 100))
    data = bytearray(archive.read_bytes())
    for place in (6, data.index(b"PK\x01\x02") + 8):
        data[place] |= 1
    archive.write_bytes(data)
    refused(archive, "encrypted")


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("kind", ["zip", "tar", "gz"])
def test_damage_raises_or_the_content_is_correct(tmp_path: Path, kind: str, seed: int) -> None:
    random_ = random.Random(seed)
    made = {
        "zip": lambda: zipped(tmp_path / "a", *GOOD),
        "tar": lambda: tarred(tmp_path / "a", *GOOD),
        "gz": lambda: tarred(tmp_path / "a", *GOOD, mode="w:gz"),
    }[kind]()
    data = bytearray(made.read_bytes())
    for _ in range(random_.randint(1, 20)):
        data[random_.randrange(min(len(data), 6000))] = random_.randrange(256)
    made.write_bytes(data[: random_.randint(0, 2 * len(data))])
    try:
        found = [file.path for file in archive_members(made, DEFAULT_LIMITS)]
        assert len(found) <= len(GOOD)
        opened(made)
    except ArchiveError:
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]


def test_too_little_disk_space_raises_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = zipped(tmp_path / "a", *GOOD)
    usage = shutil.disk_usage(tmp_path)._replace(free=3006)
    monkeypatch.setattr("chorale.datasets.disk.shutil.disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"unpacking a needs 2.9 KiB"):
        opened(archive)
    assert list(tmp_path.iterdir()) == [archive]


def test_a_disk_that_gets_full_leaves_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = zipped(tmp_path / "a", *GOOD)

    def full(_done: int, _total: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        unpack_archive(
            archive, tmp_path / "opened", inside="", limits=DEFAULT_LIMITS, progress=full
        )
    assert list(tmp_path.iterdir()) == [archive]


def test_files_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    left = tmp_path / ".opened.unpacking"
    left.mkdir()
    (left / "half.wav").write_bytes(b"half")
    assert opened(zipped(tmp_path / "a", *GOOD)) == dict(GOOD)
    assert not left.exists()


def test_progress_ends_at_the_total_size(tmp_path: Path) -> None:
    updates: list[tuple[int, int]] = []
    unpack_archive(
        zipped(tmp_path / "a", *GOOD),
        tmp_path / "opened",
        inside="",
        limits=DEFAULT_LIMITS,
        progress=lambda done, total: updates.append((done, total)),
    )
    assert updates[-1] == (3007, 3007)


def test_a_wrong_crc_raises(tmp_path: Path) -> None:
    archive = tmp_path / "a"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("a.wav", b"some sound")
    archive.write_bytes(archive.read_bytes().replace(b"some sound", b"same sound"))
    assert zlib.crc32(b"some sound") != zlib.crc32(b"same sound")
    refused(archive, "CRC")
