"""Files whose header does not give their length, as pipes, recorders and cutters leave them."""

import io
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from chorale.datasets.audio import AudioError, decode_audio, load_audio, read_audio_header
from chorale.datasets.decoding.frames import has_more_frames, mp3_count

RATE = 44_100
MP3_PADDING = 4 * 1152


def clip(seconds: float, *, channels: int = 1) -> np.ndarray:
    """A quiet half, on which a VBR encoder spends few bits, and a loud half."""
    n = int(seconds * RATE)
    loud = np.where(np.arange(n) < n // 2, 0.001, 0.2)
    noise = np.random.default_rng(0).standard_normal((n, channels))
    return loud[:, None] * (np.sin(2 * np.pi * 440 * np.arange(n) / RATE)[:, None] + noise)


def encoded(form: str, seconds: float = 1.0, **options: object) -> bytes:
    if "bitrate_mode" in options:  # soundfile sets it only where there is a level
        options = {"compression_level": 0.2, **options}
    file = io.BytesIO()
    soundfile.write(file, clip(seconds), RATE, format=form, **options)
    return file.getvalue()


def without_tag_frame(mp3: bytes) -> bytes:
    """The MP3 without its first frame, which holds the Xing or Info tag with the count."""
    frames = [match.start() for match in re.finditer(re.escape(mp3[:2]), mp3)]
    tag = min(at for name in (b"Xing", b"Info") if (at := mp3.find(name)) > 0)
    return mp3[next(at for at in frames if at > tag) :]


def wav_with_sizes(riff: int, data: int, *, subtype: str = "PCM_16", tail: bytes = b"") -> bytes:
    wav = bytearray(encoded("WAV", subtype=subtype))
    at = wav.index(b"data") + 4
    wav[4:8], wav[at : at + 4] = struct.pack("<I", riff), struct.pack("<I", data)
    return bytes(wav) + tail


def flac_with_count(n_samples: int, *, tail: bytes = b"") -> bytes:
    flac = bytearray(encoded("FLAC"))
    flac[21] = (flac[21] & 0xF0) | n_samples >> 32
    flac[22:26] = (n_samples & 0xFFFFFFFF).to_bytes(4, "big")
    return bytes(flac) + tail


def au_with_size(size: int) -> bytes:
    au = bytearray(encoded("AU", subtype="PCM_16"))
    au[8:12] = size.to_bytes(4, "big")
    return bytes(au)


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes], Path]:
    def made(data: bytes) -> Path:
        (path := tmp_path / "recording").write_bytes(data)
        return path

    return made


@pytest.mark.parametrize("mode", ["VARIABLE", "AVERAGE", "CONSTANT"])
@pytest.mark.parametrize("id3", [b"", b"ID3\x04\x00\x00\x00\x00\x0f\x7f" + bytes(15 * 128 + 127)])
def test_an_mp3_without_a_count_is_decoded_to_its_end(
    file: Callable[[bytes], Path], mode: str, id3: bytes
) -> None:
    mp3 = encoded("MP3", 4, bitrate_mode=mode)
    path = file(id3 + without_tag_frame(mp3))
    found = decode_audio(path)
    n_frames = read_audio_header(path).n_frames
    assert mp3_count(path) is None
    assert 4 * RATE <= len(found.waveform) <= 4 * RATE + MP3_PADDING
    if mode == "CONSTANT":
        assert found.header_s is None
    else:
        assert n_frames is not None
        assert n_frames < 3.5 * RATE  # what libsndfile estimates, and would decode
        assert found.header_s == n_frames / RATE
    loud = np.abs(found.waveform[-RATE:]).mean()
    assert loud > 20 * np.abs(found.waveform[:RATE]).mean()


def test_an_mp3_beyond_its_count_has_the_samples_of_its_beginning_unchanged(
    file: Callable[[bytes], Path],
) -> None:
    mp3 = encoded("MP3", 2)
    alone = load_audio(file(mp3))[0]
    both = decode_audio(file(mp3 + mp3))
    assert len(alone) == 2 * RATE
    assert 2 * len(alone) <= len(both.waveform) <= 2 * len(alone) + MP3_PADDING
    np.testing.assert_array_equal(both.waveform[: len(alone) - 1152], alone[:-1152])
    assert both.header_s == 2.0


def test_a_cut_mp3_gives_what_is_there_and_the_duration_by_its_count(
    file: Callable[[bytes], Path],
) -> None:
    mp3 = encoded("MP3", 4, bitrate_mode="CONSTANT")
    found = decode_audio(file(mp3[: len(mp3) // 2]))
    assert abs(len(found.waveform) - 2 * RATE) < MP3_PADDING
    assert found.header_s == 4.0


@pytest.mark.parametrize(
    "tail",
    [
        b"TAG" + b"x" * 125,
        b"\xff\xfb" + np.random.default_rng(0).bytes(50_000) + b"APETAGEX" + bytes(24),
    ],
)
@pytest.mark.parametrize("counted", [True, False])
def test_tags_at_the_end_of_an_mp3_change_nothing(
    file: Callable[[bytes], Path], tail: bytes, counted: bool
) -> None:
    mp3 = encoded("MP3", 2, bitrate_mode="CONSTANT")
    mp3 = mp3 if counted else without_tag_frame(mp3)
    expected = load_audio(file(mp3))[0]
    found = decode_audio(file(mp3 + tail))
    assert (found.header_s, found.n_undecoded_bytes) == (None, 0)
    np.testing.assert_array_equal(found.waveform[: len(expected)], expected)
    assert len(found.waveform) - len(expected) in ({0} if counted else {0, 1152})


def test_an_mp3_is_decoded_beyond_long_junk_between_its_frames(
    file: Callable[[bytes], Path],
) -> None:
    mp3 = encoded("MP3", 2, bitrate_mode="CONSTANT")
    middle = mp3.index(mp3[:4], len(mp3) // 2)  # between two frames
    junk = np.random.default_rng(0).integers(0, 128, 5_000, dtype=np.uint8).tobytes()
    found = decode_audio(file(mp3[:middle] + junk + mp3[middle:]))
    assert abs(len(found.waveform) - 2 * RATE) < MP3_PADDING
    assert any("error" in message for message in found.messages)


@pytest.mark.parametrize("riff", [0, 2**32 - 1, 36])
@pytest.mark.parametrize("data", [0, 0x7FFFF000, 0x7FFFFFFF, 2**32 - 1])
def test_a_wav_without_a_size_is_decoded_to_its_end(
    file: Callable[[bytes], Path], riff: int, data: int
) -> None:
    path = file(wav_with_sizes(riff, data))
    found = decode_audio(path)
    np.testing.assert_array_equal(found.waveform, load_audio(file(encoded("WAV")))[0])
    assert found.header_s == 0


@pytest.mark.parametrize("subtype", ["PCM_24", "FLOAT", "ULAW", "IMA_ADPCM"])
def test_a_wav_of_any_encoding_is_decoded_without_its_size(
    file: Callable[[bytes], Path], subtype: str
) -> None:
    expected = load_audio(file(encoded("WAV", subtype=subtype)))[0]
    found = load_audio(file(wav_with_sizes(0, 0, subtype=subtype)))[0]
    np.testing.assert_array_equal(found, expected)


def test_a_wav_with_more_samples_than_its_size_is_decoded_to_its_end(
    file: Callable[[bytes], Path],
) -> None:
    found = decode_audio(file(wav_with_sizes(36 + 8820, 8820)))
    assert len(found.waveform) == RATE
    assert found.header_s == pytest.approx(0.1)


@pytest.mark.parametrize(
    "tail",
    [
        b"LIST" + struct.pack("<I", 6_000) + bytes(6_000),
        b"ID3\x03\x00" + bytes(6_000),
        b"TAG" + bytes(6_000),
        bytes(4_000),
    ],
)
def test_chunks_tags_and_padding_after_the_samples_of_a_wav_are_no_samples(
    file: Callable[[bytes], Path], tail: bytes
) -> None:
    found = decode_audio(file(encoded("WAV") + tail))
    assert (len(found.waveform), found.header_s) == (RATE, None)


def test_a_wav_that_states_no_samples_before_another_chunk_is_empty(
    file: Callable[[bytes], Path],
) -> None:
    chunk = b"LIST" + struct.pack("<I", 4) + b"INFO"
    with pytest.raises(AudioError, match="no samples"):
        load_audio(file(wav_with_sizes(36, 0)[:44] + chunk))


@pytest.mark.parametrize(
    ("form", "options"),
    [("WAV", {}), ("AU", {"subtype": "PCM_16"}), ("AIFF", {}), ("FLAC", {})],
)
def test_a_truncated_file_gives_the_duration_by_its_header(
    file: Callable[[bytes], Path], form: str, options: dict[str, str]
) -> None:
    data = encoded(form, 2, **options)
    found = decode_audio(file(data[: len(data) * 3 // 4]))
    assert 0.9 * RATE < len(found.waveform) < 1.7 * RATE
    assert found.header_s == pytest.approx(2.0, abs=1e-3)


@pytest.mark.parametrize(("count", "header_s"), [(0, 0), (RATE // 2, 0.5), (2 * RATE, 2.0)])
@pytest.mark.parametrize("tail", [b"", b"TAG" + bytes(125)])
def test_a_flac_with_a_wrong_count_is_decoded_to_its_end(
    file: Callable[[bytes], Path], count: int, header_s: float, tail: bytes
) -> None:
    found = decode_audio(file(flac_with_count(count, tail=tail)))
    expected = load_audio(file(encoded("FLAC")))[0]
    # where there is a tag, the decoder reports an error in the last read of 1152 samples
    n_found = len(found.waveform)
    assert RATE - (1152 if tail else 0) <= n_found <= RATE
    np.testing.assert_array_equal(found.waveform, expected[:n_found])
    assert found.header_s == header_s


def test_a_flac_with_a_tag_at_its_end_is_decoded_whole(file: Callable[[bytes], Path]) -> None:
    found = decode_audio(file(encoded("FLAC") + b"TAG" + bytes(125)))
    assert (len(found.waveform), found.header_s, found.messages) == (RATE, None, ())


def test_a_flac_that_is_damaged_in_the_middle_is_undecodable(file: Callable[[bytes], Path]) -> None:
    data = bytearray(encoded("FLAC", 4))
    middle = len(data) // 2
    data[middle : middle + 40] = bytes(40)
    with pytest.raises(AudioError, match=r"lost sync after \d\.\d s"):
        load_audio(file(bytes(data)))


@pytest.mark.parametrize(("size", "header_s"), [(0, 0), (2**32 - 1, 0), (2 * RATE, None)])
def test_an_au_without_a_size_is_decoded_to_its_end(
    file: Callable[[bytes], Path], size: int, header_s: float | None
) -> None:
    found = decode_audio(file(au_with_size(size)))
    assert (len(found.waveform), found.header_s) == (RATE, header_s)


@pytest.mark.parametrize(("first", "second"), [("OGG", "OGG"), ("MP3", "slow")])
def test_a_second_stream_that_is_not_decoded_is_counted(
    file: Callable[[bytes], Path], first: str, second: str
) -> None:
    data = encoded(first, 4)
    slow = io.BytesIO()
    soundfile.write(slow, clip(4)[::2], RATE // 2, format="MP3")
    found = decode_audio(file(data + (slow.getvalue() if second == "slow" else data)))
    assert (len(found.waveform), found.header_s) == (4 * RATE, None)
    assert 0.5 * len(data) < found.n_undecoded_bytes + (len(data) // 4 if second == "slow" else 0)


def test_two_flac_in_one_are_decoded_or_counted(file: Callable[[bytes], Path]) -> None:
    """libsndfile goes on after the second header where that is in its buffer already."""
    for seconds in (1.0, 4.0):
        data = encoded("FLAC", seconds)
        found = decode_audio(file(data + data))
        all_decoded = len(found.waveform) >= 2 * seconds * RATE - 2 * 1152
        assert all_decoded or found.n_undecoded_bytes > 0.9 * len(data)


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3", "AU", "AIFF", "W64", "CAF", "RF64"])
def test_a_sound_file_has_no_difference_to_its_header(
    file: Callable[[bytes], Path], form: str
) -> None:
    found = decode_audio(file(encoded(form)))
    assert (len(found.waveform), found.header_s, found.n_undecoded_bytes) == (RATE, None, 0)
    assert (found.messages, found.cancelled_share) == ((), 0)


def test_the_limits_hold_beyond_the_count(file: Callable[[bytes], Path]) -> None:
    mp3 = without_tag_frame(encoded("MP3", 4, bitrate_mode="VARIABLE"))
    for data in (mp3, flac_with_count(0), flac_with_count(100), wav_with_sizes(0, 0)):
        path = file(data)
        n = len(load_audio(path)[0])
        assert len(load_audio(path, max_samples=n, max_duration_s=4.2)[0]) == n
        for limits in ({"max_samples": n - 1}, {"max_duration_s": 0.9}):
            with pytest.raises(AudioError, match="at most") as caught:
                load_audio(path, **limits)
            assert caught.value.problem == "too long"


def test_an_mp3_that_cannot_be_as_long_as_its_count_is_decoded(
    file: Callable[[bytes], Path],
) -> None:
    mp3 = bytearray(encoded("MP3", 1))
    at = max(mp3.find(b"Xing"), mp3.find(b"Info")) + 8
    mp3[at : at + 4] = (10**6).to_bytes(4, "big")
    path = file(bytes(mp3))
    assert mp3_count(path) == at
    found = decode_audio(path)
    assert RATE <= len(found.waveform) <= RATE + MP3_PADDING
    assert found.header_s is not None
    assert found.header_s > 3 * 3600


def test_memory_is_in_proportion_to_the_content(file: Callable[[bytes], Path]) -> None:
    tracemalloc = pytest.importorskip("tracemalloc")
    path = file(flac_with_count(2**28 - 1))  # 1 GiB, and allowed
    tracemalloc.start()
    try:
        found = decode_audio(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (len(found.waveform), found.header_s) == (RATE, (2**28 - 1) / RATE)
    assert peak < 64 * 4 * path.stat().st_size + 2e6


def test_random_bytes_seem_to_hold_no_frames(tmp_path: Path) -> None:
    (path := tmp_path / "picture").write_bytes(np.random.default_rng(0).bytes(2**21))
    assert not has_more_frames(path, "MP3", 0)
    assert not has_more_frames(path, "WAV", 0)
