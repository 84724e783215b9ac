"""Containers, decoded as `datasets.audio` does it; PyAV encodes them."""

import os
import pickle
import sys
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from chorale.datasets import audio
from chorale.datasets.audio import AudioError, load_audio, read_audio_header, read_tags
from chorale.datasets.audio_formats import container_of
from chorale.datasets.containers import sound
from tests.benchmarks.bench_decoders import (
    ENCODINGS,
    Encoding,
    chirp,
    encode,
    level_db,
    mutated,
    offset,
    outcome_of,
)

# what ffmpeg's decoding of the same file begins with: raw AAC does not state the encoder's delay,
# and FFmpeg's encoder of WMA does not write the first packet
OFFSETS = {"aac": 1024, "wma": -2048, "amr": 40}
FORMATS = {
    "m4a": "MP4", "m4a alac": "MP4", "mp4": "MP4", "3gp": "MP4", "aac": "AAC", "webm": "MATROSKA",
    "mka": "MATROSKA", "wma": "ASF", "amr": "AMR", "caf": "CAF",
}  # fmt: skip


def write(path: Path, encoding: Encoding, *, seconds: float = 1.0) -> np.ndarray:
    source = chirp(seconds, encoding.sample_rate, encoding.n_channels)
    path.write_bytes(encode(encoding, source))
    return source[:, 0]


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_container_decodes_to_its_source(tmp_path: Path, name: str) -> None:
    encoding = ENCODINGS[name]
    source = write(path := tmp_path / f"t.{name.split()[0]}", encoding)
    header = read_audio_header(path)
    waveform, rate = load_audio(path)
    assert (header.format, header.n_channels) == (FORMATS[name], encoding.n_channels)
    assert (rate, header.sample_rate) == (encoding.sample_rate, encoding.sample_rate)
    assert waveform.dtype == np.float32
    assert len(waveform) == header.n_frames
    padding = 2048 * 2  # a codec's first and last packets
    assert len(source) - padding <= len(waveform) <= len(source) + padding
    if FORMATS[name] == "MP4":  # it states where the padding of the last packet begins
        assert len(waveform) == len(source)
    assert offset(waveform, source) == OFFSETS.get(name, 0)
    assert abs(level_db(waveform, source)) < (1.2 if rate == 8_000 else 0.5)


@pytest.mark.parametrize("name", ["m4a alac", "mka"])
def test_a_lossless_container_decodes_to_the_same_samples(tmp_path: Path, name: str) -> None:
    source = write(path := tmp_path / "t", ENCODINGS[name])
    waveform, _ = load_audio(path)
    assert waveform.shape == source.shape
    assert np.abs(waveform - source).max() <= 2**-15


def test_the_content_decides_and_not_the_name(tmp_path: Path) -> None:
    source = write(path := tmp_path / "t.wav", ENCODINGS["m4a"])
    assert read_audio_header(path).format == "MP4"
    soundfile.write(tmp_path / "t.m4a", source, 44_100, format="WAV")
    assert read_audio_header(tmp_path / "t.m4a").format == "WAV"
    id3 = b"ID3\4\0\0\0\0\1\0" + bytes(128)  # some AAC streams begin with such a tag
    (tmp_path / "t.aac").write_bytes(id3 + encode(ENCODINGS["aac"], chirp(0.5, 44_100, 2)))
    assert read_audio_header(tmp_path / "t.aac").format == "AAC"


def test_channels_are_averaged(tmp_path: Path) -> None:
    source = chirp(2.0, 44_100, 2)
    source[:, 1] *= -0.5
    (tmp_path / "t").write_bytes(encode(ENCODINGS["m4a alac"], source))
    waveform, _ = load_audio(tmp_path / "t")
    np.testing.assert_allclose(waveform, source.mean(axis=1), atol=2**-15)


def test_tags_have_the_names_of_libsndfile(tmp_path: Path) -> None:
    import av

    path = tmp_path / "t.m4a"
    write(path, ENCODINGS["m4a"])
    with av.open(str(path)) as given, av.open(str(tmp_path / "u.m4a"), "w", "ipod") as made:
        stream = made.add_stream_from_template(given.streams.audio[0])
        made.metadata.update({"title": "TITLE", "artist": "B", "track": "3"})
        for packet in given.demux(audio=0):
            if packet.size:
                packet.stream = stream
                made.mux(packet)
    tags = read_tags(tmp_path / "u.m4a")
    assert (tags["title"], tags["artist"], tags["tracknumber"]) == ("TITLE", "B", "3")
    wrong = (tmp_path / "u.m4a").read_bytes().replace(b"TITLE", b"TI\xffLE")
    (tmp_path / "u.m4a").write_bytes(wrong)
    assert read_tags(tmp_path / "u.m4a")["title"] == "TI\N{REPLACEMENT CHARACTER}LE"


def test_amr_is_decoded(tmp_path: Path) -> None:
    """Frames of 20 ms at 12.2 kbit/s with other numbers in them: PyAV 19 encodes none."""
    rng = np.random.default_rng(0)
    frames = b"".join(b"\x3c" + rng.bytes(31) for _ in range(50))
    (tmp_path / "t.amr").write_bytes(b"#!AMR\n" + frames)
    waveform, rate = load_audio(tmp_path / "t.amr")
    assert (rate, len(waveform)) == (8_000, 8_000)
    assert np.abs(waveform).max() > 0.01


@pytest.mark.parametrize("name", ["aac", "webm", "mka", "wma"])
def test_a_file_that_was_cut_off_gives_the_samples_it_has(tmp_path: Path, name: str) -> None:
    source = write(path := tmp_path / "t", ENCODINGS[name])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    waveform, _ = load_audio(path)
    assert 0.3 * len(source) < len(waveform) < 0.7 * len(source)
    assert offset(waveform, source) == OFFSETS.get(name, 0)


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"#EXTM3U\nother.wav\n", "not recognised"),
        (b"a text that is no audio at all", "not recognised"),
        (b"\0\0\0\x1cftypM4A " + bytes(100), "Invalid data"),
        (b"\x1a\x45\xdf\xa3" + bytes(100), "undecodable"),
        (b"\xff\xf1" + bytes(100), "undecodable"),
        (b"#!AMR\n", "undecodable"),
    ],
)
def test_a_damaged_file_is_undecodable(tmp_path: Path, content: bytes, detail: str) -> None:
    (tmp_path / "t.m4a").write_bytes(content)
    for read in (read_audio_header, load_audio, read_tags):
        with pytest.raises(AudioError, match=detail) as caught:
            read(tmp_path / "t.m4a")
        assert caught.value.problem == "undecodable"


def test_an_mp4_without_its_index_is_undecodable(tmp_path: Path) -> None:
    write(path := tmp_path / "t.m4a", ENCODINGS["m4a"])
    path.write_bytes(path.read_bytes()[:10_000])  # the index is at the end
    with pytest.raises(AudioError, match="undecodable"):
        load_audio(path)


def test_a_file_without_sound_is_undecodable(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "t.mp4"), "w") as made:
        stream = made.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        made.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        made.mux(stream.encode(None))
    with pytest.raises(AudioError, match="no sound track"):
        load_audio(tmp_path / "t.mp4")


def test_damaged_packets_are_left_out_and_counted_if_they_are_few(tmp_path: Path) -> None:
    source = write(path := tmp_path / "t.mka", ENCODINGS["mka"], seconds=4)
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2 : len(whole) // 2 + 40] = bytes(40)
    path.write_bytes(whole)
    opened = open_sound(path)
    assert opened.messages == ("1 of 39 packets are damaged",)
    assert len(source) - 5_000 < opened.frames < len(source)
    assert len(load_audio(path)[0]) == opened.frames
    for place in range(len(whole) // 4, len(whole) - 500, len(whole) // 8):
        whole[place : place + 40] = bytes(40)
    path.write_bytes(whole)
    with pytest.raises(AudioError, match="of its 39 packets are damaged"):
        load_audio(path)


def test_a_shorter_sound_than_stated_has_a_message(tmp_path: Path) -> None:
    write(path := tmp_path / "t.webm", ENCODINGS["webm"], seconds=4)
    assert open_sound(path).messages == ()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    [message] = open_sound(path).messages
    assert message.startswith("4.0 s are stated, but ")


def open_sound(path: Path) -> sound.ContainerSound:
    with path.open("rb") as raw:
        container = container_of(raw.fileno())
        assert container is not None
        return sound.ContainerSound(raw, container, **LIMITS)


LIMITS = {"max_frames": 10**9, "max_duration_s": 10_000}
"""Of files that are not too long."""


def test_more_samples_than_allowed_are_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(stated := tmp_path / "t.m4a", ENCODINGS["m4a"], seconds=3)
    write(unstated := tmp_path / "t.webm", ENCODINGS["webm"], seconds=3)
    monkeypatch.setattr(audio, "MAX_DURATION_S", 2)
    for path in (stated, unstated):
        with pytest.raises(AudioError, match="at most 2 s") as caught:
            load_audio(path)
        assert caught.value.problem == "too long"
    monkeypatch.setattr(audio, "MAX_DURATION_S", 4)
    assert read_audio_header(stated).duration_s == pytest.approx(3, abs=0.1)


def test_samples_that_are_too_many_to_be_kept_are_decoded_again(tmp_path: Path) -> None:
    source = chirp(100, 44_100, 2)  # 35 MB
    (tmp_path / "t.mka").write_bytes(encode(ENCODINGS["mka"], source))
    waveform, _ = load_audio(tmp_path / "t.mka")
    np.testing.assert_allclose(waveform, source[:, 0], atol=2**-15)


def test_a_process_is_used_again_and_forgets_a_file_that_changes(tmp_path: Path) -> None:
    write(path := tmp_path / "t.m4a", ENCODINGS["m4a"], seconds=0.5)
    assert len(load_audio(path)[0]) < 30_000
    [kept] = {one.pid for one in sound._idle[-1:]}
    write(path, ENCODINGS["webm"], seconds=1)
    assert len(load_audio(path)[0]) == 48_000
    assert sound._idle[-1].pid == kept


def test_threads_decode_at_the_same_time(tmp_path: Path) -> None:
    write(path := tmp_path / "t.m4a", ENCODINGS["m4a"])
    expected = load_audio(path)[0]
    found: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: found.append(load_audio(path)[0])) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert all(np.array_equal(one, expected) for one in found)
    assert len(sound._idle) <= sound.MAX_IDLE


def test_a_forked_process_decodes_in_a_process_of_its_own(tmp_path: Path) -> None:
    write(path := tmp_path / "t.m4a", ENCODINGS["m4a"])
    n_samples, before = len(load_audio(path)[0]), sound._idle[-1].pid
    child = os.fork()
    if not child:
        ok = len(load_audio(path)[0]) == n_samples and sound._idle[-1].pid != before
        for one in sound._idle:
            one.end()
        os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(load_audio(path)[0]) == n_samples
    assert sound._idle[-1].pid == before


def test_without_the_package_the_error_tells_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path := tmp_path / "t.wma", ENCODINGS["wma"])
    monkeypatch.setattr(sound, "find_spec", lambda name: None)
    with pytest.raises(AudioError, match=r"wma files need PyAV; type: .* -m pip install") as caught:
        load_audio(path)
    error = pickle.loads(pickle.dumps(caught.value))
    assert error.problem == "no decoder"
    assert sys.executable in error.detail
    (tmp_path / "t.txt").write_text("a text")
    with pytest.raises(AudioError, match="not recognised"):
        load_audio(tmp_path / "t.txt")


def test_a_package_that_cannot_be_imported_is_no_decoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(path := tmp_path / "t.m4a", ENCODINGS["m4a"])
    (tmp_path / "av").mkdir()
    (tmp_path / "av" / "__init__.py").write_text("raise ImportError('libavcodec.so.1: not found')")
    monkeypatch.setattr(sound, "_idle", [])
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(AudioError, match=r"cannot be imported: libavcodec.so.1") as caught:
        load_audio(path)
    assert caught.value.problem == "no decoder"


@pytest.mark.parametrize("n", [150, pytest.param(2_000, marks=pytest.mark.heavy)])
def test_mutated_files_are_refused_or_give_finite_samples(tmp_path: Path, n: int) -> None:
    outcomes: Counter[str] = Counter()
    for index in range(n):
        ending, data = mutated(1, index)
        path = tmp_path / f"t.{ending}"
        path.write_bytes(data)
        outcome, invalid = outcome_of(path)
        outcomes[outcome] += 1
        assert invalid == ""
    assert outcomes["accepted"] > n // 10
    assert outcomes["undecodable"] > n // 10
    assert not [outcome for outcome in outcomes if "processor time" in outcome]
