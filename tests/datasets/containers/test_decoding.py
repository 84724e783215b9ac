"""The demuxer is given and can open nothing else; tested with harmless playlists."""

from contextlib import closing
from pathlib import Path
from typing import Any

import av
import pytest

from chorale.datasets.containers import decoding
from tests.benchmarks.bench_decoders import ENCODINGS, chirp, encode

PLAYLISTS = {
    "hls": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nother.aac\n#EXT-X-ENDLIST\n",
    "concat": b"ffconcat version 1.0\nfile 'other.aac'\n",
}
"""FFmpeg's demuxers that open other files -> a file for each that names one."""


@pytest.fixture(params=PLAYLISTS)
def playlist(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, Path]:
    """Its demuxer, and a playlist called .m4a that names a file that can be read."""
    monkeypatch.chdir(tmp_path)
    Path("other.aac").write_bytes(encode(ENCODINGS["aac"], chirp(0.5, 44_100, 2)))
    Path("t.m4a").write_bytes(PLAYLISTS[request.param])
    return request.param, tmp_path / "t.m4a"


def n_samples(path: Path, demuxer: str, options: dict[str, str]) -> int:
    with path.open("rb") as raw, closing(av.open(raw, format=demuxer, options=options)) as opened:
        container: Any = opened
        return int(sum(frame.samples for frame in container.decode(audio=0)))


def test_a_playlist_is_never_opened(playlist: tuple[str, Path]) -> None:
    own_demuxer, path = playlist
    with path.open("rb") as file:
        for demuxer in (own_demuxer, *decoding.DEMUXERS):
            with pytest.raises(decoding.RefusedFile):
                next(decoding.decode_container(file, demuxer, lambda: None))


def test_a_demuxer_opens_no_other_file(
    playlist: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor would that of a playlist, if it were one of ours; by FFmpeg's defaults it does."""
    demuxer, path = playlist
    assert n_samples(path, demuxer, {}) > 20_000
    for option, value in (("protocol_whitelist", ""), ("format_whitelist", demuxer)):
        with pytest.raises(av.FFmpegError):
            n_samples(path, demuxer, {option: value})
    monkeypatch.setattr(decoding, "DEMUXERS", frozenset({demuxer}))
    with path.open("rb") as file, pytest.raises(decoding.RefusedFile):
        next(decoding.decode_container(file, demuxer, lambda: None))


def test_a_codec_that_is_not_listed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t").write_bytes(encode(ENCODINGS["mka"], chirp(0.5, 44_100, 2)))
    monkeypatch.setattr(decoding, "DECODERS", decoding.DECODERS - {"flac"})
    with (
        (tmp_path / "t").open("rb") as file,
        pytest.raises(decoding.RefusedFile, match=r"its codec is not read \(flac\)"),
    ):
        next(decoding.decode_container(file, "matroska", lambda: None))
