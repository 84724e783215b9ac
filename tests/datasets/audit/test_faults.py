from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from chorale.datasets.audit import faults
from chorale.datasets.audit.audit import audit_recordings, examine_file
from chorale.datasets.audit.faults import clipped_share, fault_table, file_warnings
from chorale.datasets.audit.findings import Finding
from chorale.datasets.audit.leaks import Leak
from chorale.datasets.base import track_table
from tests.benchmarks.bench_decoders import ENCODINGS, chirp, encode

RATE = 8_000


def loud(gain: float) -> np.ndarray:
    wave = gain * np.sin(2 * np.pi * 50 * np.arange(RATE) / RATE)
    return np.clip(wave, -1, 1).astype(np.float32)


def table_of(folder: Path) -> pd.DataFrame:
    return track_table(
        {"track_id": p.stem, "path": str(p), "label": "ab"[i % 2], "group": p.stem}
        for i, p in enumerate(sorted(folder.iterdir()))
    )


@pytest.mark.parametrize(
    ("wave", "expected"),
    [
        (loud(0.9), 0.0),
        (loud(2.0), 0.667),
        (-loud(2.0), 0.667),
        (0.4 * loud(2.0), 0.0),
        (np.random.default_rng(0).uniform(-1, 1, RATE).astype(np.float32), 0.0),
    ],
)
def test_clipped_share_counts_flat_tops(wave: np.ndarray, expected: float) -> None:
    share = clipped_share(wave.astype(np.float32))
    if expected:
        assert share == pytest.approx(expected, abs=0.03)
    else:
        assert share < faults.CLIPPED_SHARE or wave.max() < 0.95


def test_a_clipped_track_is_used_with_a_warning(tmp_path: Path) -> None:
    (folder := tmp_path / "audio").mkdir()
    for i in range(4):
        soundfile.write(folder / f"t{i}.wav", loud(0.5 + 0.1 * i) * np.hanning(RATE), RATE)
    soundfile.write(folder / "hot.wav", loud(3.0), RATE)
    found = audit_recordings(table_of(folder), min_duration_s=0.1, cache_root=tmp_path)
    assert "hot" in set(found.tracks["track_id"])
    assert found.warnings[["track_id", "problem"]].to_numpy().tolist() == [["hot", "clipped"]]
    again = audit_recordings(table_of(folder), min_duration_s=0.1, cache_root=tmp_path)
    pd.testing.assert_frame_equal(found.warnings, again.warnings)


def test_a_wrong_extension_gives_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "really_flac.wav"
    soundfile.write(path, 0.3 * np.random.default_rng(0).standard_normal(RATE), RATE, format="FLAC")
    finding = examine_file(str(path))
    assert finding.format == "FLAC"
    assert file_warnings(str(path), finding) == [
        ("wrong extension", "its content is FLAC, not .wav"),
    ]
    assert file_warnings(str(path.with_suffix(".FLAC")), finding) == []
    assert file_warnings(str(path.with_suffix(".unknown")), finding) == []


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".wav", {}),
        (".wav", {"format": "WAVEX"}),
        (".flac", {}),
        (".ogg", {}),
        (".mp3", {}),
        (".au", {}),
        (".aiff", {}),
    ],
)
def test_a_matching_extension_gives_no_warning(
    tmp_path: Path, suffix: str, options: dict[str, str]
) -> None:
    path = tmp_path / f"t{suffix}"
    wave = 0.1 * np.random.default_rng(0).standard_normal(RATE)
    soundfile.write(path, wave, RATE, **options)
    assert file_warnings(str(path), examine_file(str(path))) == []


@pytest.mark.parametrize(
    ("finding", "problem", "detail"),
    [
        (
            Finding(10.03, header_s=4.98),
            "length differs from header",
            "4.98 s by its header, 10.03 s decoded",
        ),
        (
            Finding(10.0, header_s=0),
            "length differs from header",
            "no length by its header, 10.00 s decoded",
        ),
        (
            Finding(10.0, n_undecoded_bytes=31_260),
            "not decoded",
            "31.3 kB at its end seem to be another stream; encode the file again, or split it",
        ),
        (
            Finding(10.0, cancelled_share=0.97),
            "opposite phase",
            "the mean of its channels cancels 97% of their energy, so one channel is used",
        ),
        (
            Finding(10.0, n_messages=3, first_message="Note: Trying to resync..."),
            "decoder messages",
            "3, the first: Note: Trying to resync...",
        ),
    ],
)
def test_what_the_header_does_not_tell_is_a_warning(
    finding: Finding, problem: str, detail: str
) -> None:
    assert file_warnings("a", finding) == [(problem, detail)]


def test_a_recovered_and_a_phase_inverted_track_are_used_with_warnings(tmp_path: Path) -> None:
    (folder := tmp_path / "audio").mkdir()
    noise = 0.1 * np.random.default_rng(0).standard_normal((4, RATE))
    for i in range(3):
        soundfile.write(folder / f"t{i}.wav", noise[i], RATE)
    soundfile.write(folder / "inverted.wav", np.stack([noise[3], -noise[3]], axis=1), RATE)
    wav = bytearray((folder / "t0.wav").read_bytes())
    wav[40:44] = bytes(4)
    (folder / "recorder.wav").write_bytes(wav)
    expected = [
        ["inverted", "opposite phase"],
        ["recorder", "length differs from header"],
    ]
    for _ in range(2):  # decoded, and from the cache
        found = audit_recordings(table_of(folder), min_duration_s=0.1, cache_root=tmp_path)
        assert found.problems.empty
        assert found.warnings[["track_id", "problem"]].to_numpy().tolist() == expected
        assert found.tracks["duration_s"].tolist() == [1.0] * 5


@pytest.mark.parametrize("name", ["m4a", "webm", "wma", "aac"])
def test_the_format_of_a_container_is_compared_with_its_extension(
    tmp_path: Path, name: str
) -> None:
    encoding = ENCODINGS[name]
    path = tmp_path / f"t.{name}"
    path.write_bytes(encode(encoding, chirp(0.5, encoding.sample_rate, encoding.n_channels)))
    finding = examine_file(str(path))
    assert (finding.problem, file_warnings(str(path), finding)) == ("", [])
    [(problem, detail)] = file_warnings(str(path.with_suffix(".mp3")), finding)
    assert (problem, detail) == ("wrong extension", f"its content is {finding.format}, not .mp3")


def test_audit_recordings_has_no_limit_on_bad_tracks(tmp_path: Path) -> None:
    (folder := tmp_path / "audio").mkdir()
    for i in range(3):
        soundfile.write(folder / f"t{i}.wav", np.zeros(RATE + i), RATE)
    found = audit_recordings(table_of(folder), min_duration_s=0.1, cache_root=tmp_path)
    assert found.tracks.empty
    assert found.problems["problem"].tolist() == ["silent"] * 3


def test_the_fault_table_lists_each_fault_once_and_the_worst_first() -> None:
    tracks = track_table(
        {"track_id": name, "path": f"/audio/{name}.wav", "label": "x", "group": name}
        for name in "abcdef"
    )
    columns = ["track_id", "path", "problem", "detail"]
    made = fault_table(
        tracks,
        problems=pd.DataFrame([["a", "/audio/a.wav", "silent", "0"]], columns=columns),
        warnings=pd.DataFrame([["b", "/audio/b.wav", "clipped", "9 %"]], columns=columns),
        duplicates=pd.DataFrame(
            [["c", "d", "same bytes", 5.0, 0.0], ["e", "f", "same recording", 4.0, 0.5]],
            columns=["track_id", "other_id", "kind", "overlap_s", "offset_s"],
        ),
        leaks=[Leak("labels", ("e", "f"), "two labels"), Leak("groups", ("a",), "two sides")],
        accepted={"groups"},
    )
    assert made[["track_id", "outcome", "problem"]].to_numpy().tolist() == [
        ["e", "stops the sweep", "labels"],
        ["f", "stops the sweep", "labels"],
        ["a", "accepted", "groups"],
        ["a", "quarantined", "silent"],
        ["b", "used", "clipped"],
        ["d", "kept on one side", "duplicate"],
    ]
    assert made["path"][0] == "/audio/e.wav"
    assert "same bytes as 'c', 5.0 s" in made["detail"].iloc[-1]


def test_a_bad_file_has_no_warnings_besides_its_problem(tmp_path: Path) -> None:
    assert faults.warning_table(table_of(tmp_path), []).empty
    frame = pd.DataFrame({"track_id": ["a"], "path": ["a.wav"]})
    assert faults.warning_table(frame, [Finding(1.0, "silent", "", 0.5, "FLAC")]).empty
