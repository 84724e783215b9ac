"""Audio file formats: extensions of file names, and containers known by their first bytes.

The folder dataset, `chorale predict` and the audit use the extensions, `datasets.audio` the
containers: files that libsndfile does not read and `datasets.containers` decodes.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass

FORMATS_OF_EXTENSION: Mapping[str, tuple[str, ...]] = {
    # libsndfile reads these
    "wav": ("WAV", "WAVEX", "RF64", "W64"),
    "flac": ("FLAC",),
    "ogg": ("OGG",),
    "mp3": ("MP3",),
    "au": ("AU",),
    "snd": ("AU",),
    "oga": ("OGG",),
    "opus": ("OGG",),
    "aif": ("AIFF",),
    "aiff": ("AIFF",),
    "aifc": ("AIFF",),
    "caf": ("CAF",),
    "w64": ("W64",),
    # the extra `formats` reads these; of a file with video its first sound track
    "m4a": ("MP4",),
    "m4b": ("MP4",),
    "mp4": ("MP4",),
    "3gp": ("MP4",),
    "aac": ("AAC",),
    "webm": ("MATROSKA",),
    "weba": ("MATROSKA",),
    "mka": ("MATROSKA",),
    "wma": ("ASF",),
    "amr": ("AMR",),
}
"""File extension -> the formats that its content may have, as `AudioHeader.format` names them."""

AUDIO_EXTENSIONS = tuple(FORMATS_OF_EXTENSION)


@dataclass(frozen=True)
class Container:
    """A container format: its name in `AudioHeader.format`, and that of FFmpeg's demuxer."""

    name: str
    demuxer: str


MP4 = Container("MP4", "mov")
MATROSKA = Container("MATROSKA", "matroska")
ASF = Container("ASF", "asf")
AAC = Container("AAC", "aac")
AMR = Container("AMR", "amr")
CAF = Container("CAF", "caf")  # with AAC; libsndfile reads it with PCM and ALAC
CONTAINERS = (MP4, MATROSKA, ASF, AAC, AMR, CAF)

_STARTS: Mapping[bytes, Container] = {
    b"\x1a\x45\xdf\xa3": MATROSKA,
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c": ASF,
    b"#!AMR": AMR,
    b"caff": CAF,
}
_MP4_FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")  # after its size
_ID3_BYTES = 10


def container_of(descriptor: int) -> Container | None:
    """The container format of an open file by its first bytes, whatever its name; None for others.

    Args:
        descriptor: of a file; its position stays where it is.
    """
    start = os.pread(descriptor, 16, 0)
    for magic, container in _STARTS.items():
        if start.startswith(magic):
            return container
    if start[4:8] in _MP4_FIRST_BOXES:
        return MP4
    if start.startswith(b"ID3") and len(start) > _ID3_BYTES:  # a tag may come before AAC frames
        size = int.from_bytes(bytes(start[6:10]), "big")
        parts = [(size >> shift) & 0x7F for shift in (24, 16, 8, 0)]  # seven bits of each byte
        size = sum(part << (7 * i) for i, part in enumerate(reversed(parts)))
        start = os.pread(descriptor, 2, _ID3_BYTES + size)
    # the sync word of an ADTS frame: twelve ones, then MPEG-4 or MPEG-2, and layer 0
    if len(start) >= 2 and start[0] == 0xFF and start[1] & 0xF6 == 0xF0:
        return AAC
    return None
