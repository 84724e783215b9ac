from pathlib import Path

import pytest

from chorale.datasets.audio_formats import (
    AAC,
    AMR,
    ASF,
    AUDIO_EXTENSIONS,
    CAF,
    CONTAINERS,
    FORMATS_OF_EXTENSION,
    MATROSKA,
    MP4,
    Container,
    container_of,
)
from chorale.datasets.catalog import folder
from chorale.datasets.containers.decoding import DEMUXERS

ASF_START = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")


def id3(n_bytes: int) -> bytes:
    """The header of an ID3 tag of so many bytes, in seven bits of each of four."""
    size = bytes((n_bytes >> shift) & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\4\0\0" + size + bytes(n_bytes)


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (b"\0\0\0\x1cftypM4A ", MP4),
        (b"\0\0\1\0moov", MP4),
        (b"\x1a\x45\xdf\xa3", MATROSKA),
        (ASF_START, ASF),
        (ASF_START[:-1], None),
        (b"#!AMR\n", AMR),
        (b"#!AMR-WB\n", AMR),
        (b"caff\0\1", CAF),
        (b"\xff\xf1\x50", AAC),
        (b"\xff\xf9\x50", AAC),
        (b"\xff\xfb\x90", None),  # layer 3, which libsndfile reads
        (id3(5) + b"\xff\xf1", AAC),
        (id3(300) + b"\xff\xf1", AAC),
        (id3(300) + b"\xff\xfb", None),
        (b"ID3", None),
        (b"RIFF\0\0\0\0WAVE", None),
        (b"#EXTM3U\n", None),
        (b"", None),
    ],
)
def test_a_container_is_known_by_its_first_bytes(
    tmp_path: Path, start: bytes, expected: Container | None
) -> None:
    (tmp_path / "t").write_bytes(start)
    with (tmp_path / "t").open("rb") as file:
        file.read(1)
        assert container_of(file.fileno()) == expected


def test_every_container_has_a_demuxer_and_an_extension() -> None:
    assert {one.demuxer for one in CONTAINERS} == DEMUXERS
    named = {name for formats in FORMATS_OF_EXTENSION.values() for name in formats}
    assert {one.name for one in CONTAINERS} <= named


def test_a_folder_is_searched_for_every_format_that_is_decoded(tmp_path: Path) -> None:
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for extension in AUDIO_EXTENSIONS:
            (tmp_path / label / f"t.{extension}").touch()
        (tmp_path / label / "notes.txt").touch()
    found = folder.tracks(folder.Config(root=str(tmp_path)))["track_id"]
    assert len(found) == 2 * len(AUDIO_EXTENSIONS)
    assert {name.rsplit(".", 1)[1] for name in found} == set(AUDIO_EXTENSIONS)
    expected = {"wav", "flac", "ogg", "oga", "opus", "mp3", "au", "aif", "aiff", "caf", "m4a"}
    assert expected | {"mp4", "aac", "webm", "mka", "wma", "amr", "3gp"} <= set(AUDIO_EXTENSIONS)
