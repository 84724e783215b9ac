from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import soundfile

from chorale.datasets import audio
from chorale.datasets.audit import duplicates as duplicate_finder
from chorale.datasets.audit.audit import audit_recordings
from chorale.datasets.audit.duplicates import MIN_OVERLAP_S, find_duplicates
from chorale.datasets.audit.fingerprint import (
    HOP_S,
    SILENT_BITS,
    audio_fingerprint,
    cached_fingerprints,
)
from chorale.datasets.base import track_table
from chorale.datasets.errors import UserError

RATE = 16_000
Waveform = npt.NDArray[np.float32]


def melody(seed: int, *, length_s: float = 5.0, rate: int = RATE) -> Waveform:
    """Notes with harmonics and a little noise; another seed is another melody."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(int(0.2 * rate)) / rate
    notes = []
    for _ in range(round(length_s / 0.2)):
        pitch_hz = 220 * 2 ** (rng.integers(24) / 12)
        partials = [np.sin(2 * np.pi * k * pitch_hz * time_s) / k for k in (1, 2, 3, 4)]
        notes.append(sum(partials) * np.exp(-6 * time_s))
    wave = np.concatenate(notes)
    wave += 0.05 * np.random.default_rng(1000 + seed).standard_normal(len(wave))
    return np.asarray(0.2 * wave, np.float32)


def mp3(path: Path, wave: Waveform) -> None:
    soundfile.write(path.with_suffix(".mp3"), wave, RATE, format="MP3")


def ogg(path: Path, wave: Waveform) -> None:
    soundfile.write(path.with_suffix(".ogg"), wave, RATE, format="OGG", subtype="VORBIS")


def flac(path: Path, wave: Waveform) -> None:
    soundfile.write(path.with_suffix(".flac"), wave, RATE)


def later(path: Path, wave: Waveform) -> None:
    mp3(path, np.r_[np.zeros(RATE // 2, np.float32), wave])


def cut(path: Path, wave: Waveform) -> None:
    mp3(path, wave[RATE : RATE + 3 * RATE])


def at_another_rate(path: Path, wave: Waveform) -> None:
    soundfile.write(path.with_suffix(".wav"), 0.3 * audio.resample(wave, RATE, 22_050), 22_050)


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    for seed in range(6):
        soundfile.write(folder / f"t{seed}.wav", melody(seed), RATE)
    return folder


def audited(files: list[Path], cache: Path) -> pd.DataFrame:
    rows = [
        {"track_id": path.stem, "path": str(path), "label": "ab"[i % 2], "group": path.stem}
        for i, path in enumerate(sorted(files, key=lambda path: path.stem))
    ]
    return audit_recordings(track_table(rows), min_duration_s=0.1, cache_root=cache).tracks


def files_with(originals: Path, *others: Path) -> list[Path]:
    return [*originals.iterdir(), *others]


def test_there_is_one_sub_fingerprint_per_hop() -> None:
    bits = audio_fingerprint(melody(0), RATE)
    assert bits.dtype == np.uint32
    assert len(bits) * HOP_S == pytest.approx(5.0 - 0.186, abs=2 * HOP_S)


def test_silent_frames_have_the_silent_value() -> None:
    wave = np.r_[melody(0, length_s=2), np.zeros(2 * RATE, np.float32)]
    bits = audio_fingerprint(wave.astype(np.float32), RATE)
    assert (bits[-60:] == SILENT_BITS).all()
    assert (bits[:60] != SILENT_BITS).all()


@pytest.mark.parametrize(("n_samples", "rate"), [(100, RATE), (20_000, 4_000)])
def test_a_waveform_too_short_or_of_too_low_a_rate_has_no_fingerprint(
    n_samples: int, rate: int
) -> None:
    assert len(audio_fingerprint(melody(0)[:n_samples], rate)) == 0


@pytest.mark.parametrize(
    ("write", "offset_s", "at_least_s"),
    [
        (mp3, 0.0, 4.0),
        (ogg, 0.0, 4.0),
        (flac, 0.0, 4.5),
        (later, -0.5, 4.0),
        (cut, 1.0, 2.5),
        (at_another_rate, 0.0, 4.0),
    ],
)
def test_a_copy_is_found_with_its_offset(
    originals: Path,
    tmp_path: Path,
    write: Callable[[Path, Waveform], None],
    offset_s: float,
    at_least_s: float,
) -> None:
    write(tmp_path / "copy", melody(3))
    copy = next(tmp_path.glob("copy.*"))
    found = find_duplicates(
        audited(files_with(originals, copy), tmp_path / "c"), cache_root=tmp_path
    )
    assert found[["track_id", "other_id"]].to_numpy().tolist() == [["copy", "t3"]]
    assert found["kind"].tolist() == ["same recording"]
    # an encoder may add some 50 ms of silence at the start
    assert found["offset_s"][0] == pytest.approx(offset_s, abs=0.11)
    assert at_least_s < found["overlap_s"][0] <= 5.0


def test_equal_bytes_are_found_by_hash_and_compared_by_fingerprint_once(
    originals: Path, tmp_path: Path
) -> None:
    for name in ("t8", "t9"):
        (tmp_path / f"{name}.wav").write_bytes((originals / "t2.wav").read_bytes())
    flac(tmp_path / "u2", melody(2))
    files = files_with(originals, *tmp_path.glob("*.wav"), *tmp_path.glob("*.flac"))
    found = find_duplicates(audited(files, tmp_path / "c"), cache_root=tmp_path)
    assert found[["track_id", "other_id", "kind"]].to_numpy().tolist() == [
        ["t2", "t8", "same bytes"],
        ["t2", "t9", "same bytes"],
        ["t2", "u2", "same recording"],
    ]
    assert found["overlap_s"][0] == 5.0


def test_different_recordings_are_no_duplicates(originals: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).standard_normal((2, 4 * RATE)) * 0.1
    time_s = np.arange(4 * RATE) / RATE
    tones = [0.3 * np.sin(2 * np.pi * hz * time_s) for hz in (440.0, 440.5)]
    for i, wave in enumerate([*noise, *tones]):
        soundfile.write(tmp_path / f"x{i}.wav", wave, RATE)
    files = files_with(originals, *tmp_path.glob("x*.wav"))
    assert find_duplicates(audited(files, tmp_path / "c"), cache_root=tmp_path).empty


def test_a_shared_start_below_the_minimum_overlap_is_no_duplicate(tmp_path: Path) -> None:
    shared = melody(0, length_s=MIN_OVERLAP_S - 0.6)
    for i in (1, 2):
        wave = np.concatenate([shared, melody(i, length_s=4)])
        soundfile.write(tmp_path / f"s{i}.wav", wave, RATE)
    files = list(tmp_path.glob("*.wav"))
    assert find_duplicates(audited(files, tmp_path / "c"), cache_root=tmp_path).empty


def test_a_losslessly_encoded_short_clip_is_found(tmp_path: Path) -> None:
    for seed in (0, 1):
        soundfile.write(tmp_path / f"s{seed}.wav", melody(seed, length_s=1), RATE)
    flac(tmp_path / "copy", melody(1, length_s=1))
    files = [*tmp_path.glob("*.wav"), *tmp_path.glob("*.flac")]
    found = find_duplicates(audited(files, tmp_path / "c"), cache_root=tmp_path)
    assert found[["track_id", "other_id"]].to_numpy().tolist() == [["copy", "s1"]]


def test_many_copies_of_one_recording_are_all_linked(tmp_path: Path) -> None:
    for i in range(40):
        soundfile.write(tmp_path / f"c{i:02}.wav", np.float32(1 - i / 100) * melody(0), RATE)
    soundfile.write(tmp_path / "other.wav", melody(1), RATE)
    found = find_duplicates(
        audited(list(tmp_path.glob("*.wav")), tmp_path / "c"), cache_root=tmp_path
    )
    assert set(found["track_id"]) | set(found["other_id"]) == {f"c{i:02}" for i in range(40)}


def test_no_tracks_have_no_duplicates(originals: Path, tmp_path: Path) -> None:
    none = audited(list(originals.iterdir()), tmp_path).iloc[:0]
    found = find_duplicates(none, cache_root=tmp_path)
    assert found.columns.tolist() == ["track_id", "other_id", "kind", "overlap_s", "offset_s"]
    assert found.empty


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    load = audio.load_audio

    def counting(path: str) -> tuple[Waveform, int]:
        names.append(Path(path).name)
        return load(path)

    monkeypatch.setattr(audio, "load_audio", counting)
    return names


def test_a_second_run_decodes_nothing_and_a_third_only_new_files(
    originals: Path, tmp_path: Path, decoded: list[str]
) -> None:
    tracks = audited(list(originals.iterdir()), tmp_path)
    first = cached_fingerprints(tracks, cache_root=tmp_path)
    decoded.clear()
    second = cached_fingerprints(tracks, cache_root=tmp_path)
    assert decoded == []
    assert all((second[content] == bits).all() for content, bits in first.items())
    soundfile.write(tmp_path / "new.wav", melody(9), RATE)
    more = audited(files_with(originals, tmp_path / "new.wav"), tmp_path)
    decoded.clear()
    cached_fingerprints(more, cache_root=tmp_path)
    assert decoded == ["new.wav"]


def test_a_damaged_cache_is_replaced(originals: Path, tmp_path: Path, decoded: list[str]) -> None:
    tracks = audited(list(originals.iterdir()), tmp_path)
    first = cached_fingerprints(tracks, cache_root=tmp_path)
    kept = list(tmp_path.glob("fingerprints-*/*.npz"))
    assert kept
    for path in kept:
        path.write_bytes(path.read_bytes()[:200])
    again = cached_fingerprints(tracks, cache_root=tmp_path)
    assert all((again[content] == bits).all() for content, bits in first.items())


def test_a_file_that_changed_since_the_audit_has_no_fingerprint(tmp_path: Path) -> None:
    for seed in (0, 1):
        soundfile.write(tmp_path / f"t{seed}.wav", melody(seed), RATE)
    tracks = audited(list(tmp_path.glob("*.wav")), tmp_path / "c")
    soundfile.write(tmp_path / "t0.wav", melody(5), RATE)
    assert set(cached_fingerprints(tracks, cache_root=tmp_path)) == {tracks["content"][1]}


def test_a_corpus_too_large_for_the_index_is_subsampled_consistently(
    originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicate_finder, "_MAX_INDEXED", 150)
    flac(tmp_path / "copy", melody(3))
    files = files_with(originals, tmp_path / "copy.flac")
    found = find_duplicates(audited(files, tmp_path / "c"), cache_root=tmp_path)
    assert found[["track_id", "other_id"]].to_numpy().tolist() == [["copy", "t3"]]


def test_vote_packing_works_beyond_20_bits_of_tracks_and_offsets() -> None:
    packing = duplicate_finder._Packing(track_bits=24, offset_bits=13)
    track, other = np.array([2**20 + 3, 3]), np.array([2**23 + 1, 5])
    offset = np.array([-(2**12), 2**12 - 1])
    unpacked = packing.unpack(packing.pack(track, other, offset))
    assert [part.tolist() for part in unpacked] == [
        track.tolist(), other.tolist(), offset.tolist()
    ]  # fmt: skip
    many = duplicate_finder._Packing.of([np.zeros(3, np.uint32)] * (2**20 + 1))
    assert 2**many.track_bits > 2**20 + 1
    long = duplicate_finder._Packing.of([np.zeros(2**21, np.uint32)] * 2)
    assert 2 ** (long.offset_bits - 1) > 2**21


def test_more_tracks_than_fit_an_int64_raise_with_what_to_type() -> None:
    class Long:
        def __len__(self) -> int:
            return 2**40

    prints: Any = [Long()] * 2**14
    with pytest.raises(UserError, match=r"16,384 tracks of up to .* h .*--audit.fingerprint false"):
        duplicate_finder._Packing.of(prints)
