"""Frames of FLAC, MP3 and Ogg files: where they begin, how many there are by the header.

`datasets.decoding.sound_file` and `datasets.decoding.decode` use it, for files whose header states
another length than they have. Nothing here decodes or counts frames.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from chorale.datasets.decoding.sound_length import read_at

MIN_MP3_BYTES_PER_S = 1_000
"""The lowest bit rate of an MPEG layer III stream, 8 kbit/s."""

_MIN_MP3_FRAME = 24  # bytes
_MPEG_SYNC = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb]")  # of layer III
_MPEG_KBPS = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # MPEG 1
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),  # MPEG 2 and 2.5
}
_MPEG_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_SEARCHED = 2**16  # bytes in which the first MPEG frame is searched
_CHAIN = 3  # frames, one after the other: data that are no audio hold no such chain
_MAX_TAGS = 100


def has_more_frames(path: Path, file_format: str, at: int) -> bool:
    """Whether a FLAC, MP3 or Ogg file seems to hold frames from an offset on; False for others.

    Tags at the end, even with pictures, are not frames.
    """
    if file_format not in ("FLAC", "MP3", "OGG"):
        return False
    with path.open("rb") as raw:
        raw.seek(at)
        before = b""
        while block := raw.read(2**20):
            data = before + block
            if _holds_frames(data, file_format):
                return True
            before = data[-4096:]  # longer than two MPEG frames
    return False


def flac_without_count(path: Path) -> Mapping[int, bytes]:
    """Patches that make a FLAC file state that its number of samples is unknown.

    Source: RFC 9639, section 8.2, https://www.rfc-editor.org/rfc/rfc9639#section-8.2
    """
    with path.open("rb") as raw:
        at = _after_id3(raw)
        if read_at(raw, at, 4) != b"fLaC":
            return {}
        high = read_at(raw, at + 21, 1)[0]  # its upper four bits belong to another field
        return {at + 21: bytes([high & 0xF0, 0, 0, 0, 0])}


def mp3_count(path: Path) -> int | None:
    """The offset of the number of frames in an MP3's Xing or Info tag; None without such a number.

    Source: G. Bouvigne 2003, "mp3 Info Tag", http://gabriel.mp3-tech.org/mp3infotag.html
    """
    with path.open("rb") as raw:
        start = _after_id3(raw)
        data = read_at(raw, start, _SEARCHED)
        for sync in _MPEG_SYNC.finditer(data):
            frame = sync.start()
            if not _mp3_frame_bytes(data[frame : frame + 4]):
                continue
            head = data[frame : frame + 64]  # the tag is after the empty side information
            for name in (b"Xing", b"Info"):
                if (at := head.find(name)) > 0 and head[at + 7] & 1:
                    return start + frame + at + 8
            if _is_chain(data, frame):
                return None  # the first frame, without a tag
    return None


def mp3_frames_at_most(path: Path) -> int:
    """An upper bound for the number of frames, whatever their bit rates."""
    return path.stat().st_size // _MIN_MP3_FRAME + 1


def _holds_frames(data: bytes, file_format: str) -> bool:
    if file_format == "FLAC":
        return b"\xff\xf8" in data or b"\xff\xf9" in data
    if file_format == "OGG":
        return b"OggS" in data
    if file_format == "MP3":
        return any(_is_chain(data, sync.start()) for sync in _MPEG_SYNC.finditer(data))
    return False


def _is_chain(data: bytes, at: int) -> bool:
    for _ in range(_CHAIN):
        n_bytes = _mp3_frame_bytes(data[at : at + 4])
        if not n_bytes:
            return False
        at += n_bytes
    return True


def _mp3_frame_bytes(head: bytes) -> int:
    """The size of the MPEG layer III frame with this header; 0 where it is none.

    Source: ISO/IEC 11172-3:1993, section 2.4.2.3; free bit rates are left out.
    """
    if len(head) < 4 or not _MPEG_SYNC.match(head):
        return 0
    version, n_kbps, n_rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version not in _MPEG_RATES or n_kbps in (0, 15) or n_rate == 3:
        return 0
    bits_per_s = 1000 * _MPEG_KBPS[version == 3][n_kbps]
    samples = 1152 if version == 3 else 576
    return samples // 8 * bits_per_s // _MPEG_RATES[version][n_rate] + (head[2] >> 1 & 1)


def _after_id3(raw: BinaryIO) -> int:
    """The offset after ID3v2 tags at the start."""
    at = 0
    for _ in range(_MAX_TAGS):
        head = read_at(raw, at, 10)
        if len(head) < 10 or head[:3] != b"ID3":
            break
        n_bytes = 0
        for byte in head[6:]:
            n_bytes = n_bytes << 7 | byte & 0x7F
        at += 10 + n_bytes + (10 if head[5] & 0x10 else 0)
    return at
