"""The demuxer is given and can open nothing else; tested with harmless playlists."""

from pathlib import Path

import av
import pytest

from chorale.datasets.containers import decoding
from tests.benchmarks.bench_decoders import ENCODINGS, chirp, encode


def playlists(folder: Path) -> dict[str, bytes]:
    """FFmpeg's demuxers that open other files -> a file for them that names an existing one."""
    other = folder / "other.aac"
    other.write_bytes(encode(ENCODINGS["aac"], chirp(0.5, 44_100, 2)))
    return {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{other}\n#EXT-X-ENDLIST\n".encode(),
        "concat": f"ffconcat version 1.0\nfile '{other}'\n".encode(),
    }


@pytest.mark.parametrize("kind", ["hls", "concat"])
def test_a_playlist_is_never_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    (tmp_path / "t.m4a").write_bytes(playlists(tmp_path)[kind])
    with (tmp_path / "t.m4a").open("rb") as file:
        with pytest.raises(decoding.Refused, match="are not read"):
            next(decoding.decode(file, kind, lambda: None))
        for demuxer in decoding.DEMUXERS:
            with pytest.raises(decoding.Refused):
                next(decoding.decode(file, demuxer, lambda: None))
        # nor would it open another file, if its demuxer were one of ours
        monkeypatch.setattr(decoding, "DEMUXERS", frozenset({kind}))
        with pytest.raises(decoding.Refused):
            next(decoding.decode(file, kind, lambda: None))


def test_without_the_whitelist_a_playlist_does_open_another_file(tmp_path: Path) -> None:
    """So the test above can fail."""
    (tmp_path / "t").write_bytes(playlists(tmp_path)["concat"])
    with av.open(str(tmp_path / "t"), format="concat", options={"safe": "0"}) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) > 20_000


def test_a_codec_that_is_not_listed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t").write_bytes(encode(ENCODINGS["mka"], chirp(0.5, 44_100, 2)))
    monkeypatch.setattr(decoding, "DECODERS", decoding.DECODERS - {"flac"})
    with (
        (tmp_path / "t").open("rb") as file,
        pytest.raises(decoding.Refused, match=r"its codec is not read \(flac\)"),
    ):
        next(decoding.decode(file, "matroska", lambda: None))
