"""Playlist files: players find every file, whatever characters its name has."""

from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from chorale.search.champion.library.m3u8 import write_m3u8
from chorale.search.champion.library.track import LibraryTrack


def track(path: str, *, title: str = "T", artist: str = "A") -> LibraryTrack:
    return LibraryTrack(path, "c", title, artist, "jazz", 187.6)


def test_lines_are_those_of_extended_m3u_in_utf8(tmp_path: Path) -> None:
    tracks = [track("/m/ñ 1.wav", title="Señor", artist="Ø"), track("/m/2.wav", artist="")]
    write_m3u8(tmp_path / "p.m3u8", tracks)
    assert (tmp_path / "p.m3u8").read_bytes().decode("utf-8") == (
        "#EXTM3U\n#EXTINF:188,Ø - Señor\n/m/ñ 1.wav\n#EXTINF:188,T\n/m/2.wav\n"
    )


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize(
    "name", ["plain.wav", "#1 hit.wav", "two\nlines.wav", "a\u2028b.wav", " x"]
)
def test_every_file_is_found_again(tmp_path: Path, name: str, relative: bool) -> None:
    file = tmp_path / "music" / name
    file.parent.mkdir()
    file.write_bytes(b"x")
    to = tmp_path / "music" / "p.m3u8"
    write_m3u8(to, [track(str(file), title="a\nb\r#EXTINF")], relative=relative)
    lines = to.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 3
    [place] = [line for line in lines if not line.startswith("#")]
    if place.startswith("file:"):
        place = unquote(urlparse(place).path)
    assert (to.parent / place).samefile(file)
    odd = name in ("two\nlines.wav", "a\u2028b.wav")
    assert Path(place).is_absolute() == (odd or not relative)
