"""Lengths that sound files state in their headers, and the bytes that correct them.

Recorders that lose power, pipes and cutting tools leave wrong counts, or none; libsndfile reads no
further than the count says. `datasets.decoding.sound_file` opens files with these corrections.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

_NO_LENGTH = 0x7FFF_F000
"""Programs that write to a pipe state this size of the samples or a larger one, or 0."""
_MAX_CHUNKS = 100  # before the samples: a damaged file may hold millions of empty ones
_MAX_PADDING = 4_096  # bytes after the samples that may be padding of a disk's block
_TAGS = (b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN")  # appended by programs that know MP3 only


@dataclass(frozen=True)
class SampleBytes:
    """Bytes of samples: `stated` in the header (None: it states no size) and `present`.

    `patches` are the bytes at offsets of the file that make the header state what is present;
    empty where libsndfile needs none.
    """

    stated: int | None
    present: int
    patches: Mapping[int, bytes] = field(default_factory=dict)


def sample_bytes(raw: BinaryIO) -> SampleBytes | None:
    """The sizes in a wav, au or aiff file; None for other formats.

    Sizes are wrong where the program that wrote the file could not return to the header. More bytes
    than stated count as samples if they are neither chunks, nor a tag, nor padding.

    Source: Microsoft and IBM 1991, "Multimedia Programming Interface and Data Specifications 1.0".
    """
    head = read_at(raw, 0, 16)
    if head[:4] == b".snd":
        return _au_bytes(head, file_size(raw))
    if head[:4] in (b"RIFF", b"RIFX") and head[8:12] == b"WAVE":
        return _wav_bytes(raw, "little" if head[:4] == b"RIFF" else "big")
    if head[:4] == b"FORM" and head[8:11] == b"AIF":
        for name, at, stated in _chunks(raw, "big"):
            if name == b"SSND":  # its count of samples is elsewhere, and libsndfile checks it
                present = min(stated, file_size(raw) - at)
                return SampleBytes(max(0, stated - 8), max(0, present - 8))
    return None


def _au_bytes(head: bytes, size: int) -> SampleBytes:
    start, stated = (int.from_bytes(head[i : i + 4], "big") for i in (4, 8))
    present = max(0, size - start)
    if stated == 0:
        return SampleBytes(None, present, {8: b"\xff" * 4})  # the format's own "unknown"
    return SampleBytes(None if stated >= _NO_LENGTH else stated, min(stated, present))


def _wav_bytes(raw: BinaryIO, order: str) -> SampleBytes | None:
    size = file_size(raw)
    for name, at, stated in _chunks(raw, order):
        if name != b"data":
            continue
        present = size - at
        if stated > present:  # libsndfile reads what there is
            return SampleBytes(None if stated >= _NO_LENGTH else stated, present)
        after = at + stated + stated % 2
        if not _holds_samples(raw, after, order, may_be_padding=stated > 0):
            return SampleBytes(stated, stated)
        corrected = min(present, 2**32 - 2).to_bytes(4, "little" if order == "little" else "big")
        return SampleBytes(stated or None, present, {at - 4: corrected})
    return None


def _holds_samples(raw: BinaryIO, at: int, order: str, *, may_be_padding: bool) -> bool:
    n_bytes = file_size(raw) - at
    if n_bytes <= (_MAX_PADDING if may_be_padding else 0):
        return False
    head = read_at(raw, at, 16)
    if head.startswith(_TAGS):
        return False
    n_chunk = int.from_bytes(head[4:8], "little" if order == "little" else "big")
    is_chunk = all(0x20 <= byte < 0x7F for byte in head[:4]) and n_chunk <= n_bytes - 8
    return not is_chunk


def _chunks(raw: BinaryIO, order: str) -> Iterator[tuple[bytes, int, int]]:
    """The name, the offset of the content and the stated size of each chunk."""
    at, size = 12, file_size(raw)
    for _ in range(_MAX_CHUNKS):
        head = read_at(raw, at, 8)
        if len(head) < 8:
            return
        n_bytes = int.from_bytes(head[4:], "little" if order == "little" else "big")
        yield head[:4], at + 8, n_bytes
        at += 8 + n_bytes + n_bytes % 2
        if at >= size:
            return


def read_at(raw: BinaryIO, at: int, n_bytes: int) -> bytes:
    """At most `n_bytes` from an offset of the file on."""
    raw.seek(at)
    return raw.read(n_bytes)


def file_size(raw: BinaryIO) -> int:
    """The size of an open file in bytes."""
    return os.fstat(raw.fileno()).st_size
