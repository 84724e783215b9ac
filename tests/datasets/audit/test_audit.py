from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import pytest
import soundfile

from chorale.datasets import audio, chunks
from chorale.datasets.audit.audit import AuditResult, audit_recordings, require_usable_tracks
from chorale.datasets.base import track_table
from chorale.datasets.containers import sound
from chorale.datasets.errors import UserError
from tests.benchmarks.bench_decoders import ENCODINGS, chirp, encode

T = TypeVar("T")
R = TypeVar("R")
RATE = 8_000


def corpus(folder: Path, *, n: int = 6) -> pd.DataFrame:
    """Good tracks of two labels, each with different noise."""
    for i in range(n):
        noise = np.random.default_rng(i).uniform(-0.5, 0.5, RATE // 2)
        soundfile.write(folder / f"t{i}.wav", noise, RATE)
    return table(folder)


def table(folder: Path) -> pd.DataFrame:
    rows = [
        {"track_id": p.stem, "path": str(p), "label": "ab"[i % 2], "group": p.stem}
        for i, p in enumerate(sorted(folder.iterdir()))
    ]
    return track_table(rows)


def audit_tracks(
    tracks: pd.DataFrame, root: Path, *, allow: float = 0.5, at_least_s: float = 0.1
) -> AuditResult:
    found = audit_recordings(tracks, min_duration_s=at_least_s, cache_root=root)
    require_usable_tracks(found, tracks, max_bad_share=allow)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "audio").mkdir()
    return tmp_path / "audio"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are decoded."""
    names: list[str] = []
    decode = audio.decode_audio

    def counting(path: str) -> audio.Recording:
        names.append(Path(path).name)
        return decode(path)

    monkeypatch.setattr(audio, "decode_audio", counting)
    return names


def test_good_tracks_get_their_duration_and_content(folder: Path, tmp_path: Path) -> None:
    tracks = corpus(folder)
    found = audit_tracks(tracks, tmp_path)
    assert found.problems.empty
    assert list(found.problems.columns) == ["track_id", "path", "problem", "detail"]
    assert found.tracks["track_id"].tolist() == tracks["track_id"].tolist()
    assert found.tracks["duration_s"].tolist() == [0.5] * 6
    assert found.tracks["content"].tolist() == [audio.content_hash(path) for path in tracks["path"]]


@pytest.mark.parametrize(
    ("samples", "problem", "detail"),
    [
        (np.zeros(RATE), "silent", "peak is 0"),
        (np.full(RATE, 5e-5), "silent", "peak is -86 dBFS"),
        (np.full(RATE, 0.25), "DC only", "0.2500"),
        (np.r_[np.zeros(RATE), np.nan], "not finite", "NaN"),
        (np.zeros(0), "empty", "no samples"),
        (np.linspace(-1, 1, 40), "too short", "0.005 s; at least 0.1 s"),
    ],
)
def test_a_faulty_waveform_is_excluded_with_its_reason(
    folder: Path, tmp_path: Path, samples: np.ndarray, problem: str, detail: str
) -> None:
    corpus(folder)
    soundfile.write(folder / "bad.wav", samples, RATE, subtype="FLOAT")
    found = audit_tracks(table(folder), tmp_path)
    assert found.problems[["track_id", "problem"]].to_numpy().tolist() == [["bad", problem]]
    assert detail in found.problems["detail"][0]
    assert "bad" not in set(found.tracks["track_id"])
    assert found.tracks.index.tolist() == list(range(6))


def test_missing_files_and_files_that_are_no_audio_are_excluded(
    folder: Path, tmp_path: Path
) -> None:
    good = (Path(p) for p in corpus(folder)["path"])
    (folder / "broken.wav").write_bytes(b"RIFF" + bytes(100))
    (folder / "._t0.wav").write_bytes(next(good).read_bytes())
    (folder / "deleted.wav").touch()
    tracks = table(folder)
    (folder / "deleted.wav").unlink()
    found = audit_tracks(tracks, tmp_path)
    problems = dict(zip(found.problems["track_id"], found.problems["problem"], strict=True))
    assert problems == {"._t0": "not audio", "broken": "undecodable", "deleted": "missing"}
    assert len(found.tracks) == 6


def test_two_files_with_equal_content_are_decoded_once(
    folder: Path, tmp_path: Path, decoded: list[str]
) -> None:
    corpus(folder)
    (folder / "copy.wav").write_bytes((folder / "t0.wav").read_bytes())
    assert len(audit_tracks(table(folder), tmp_path).tracks) == 7
    assert len(decoded) == 6


def test_a_second_audit_decodes_nothing_and_finds_the_same(
    folder: Path, tmp_path: Path, decoded: list[str]
) -> None:
    corpus(folder)
    soundfile.write(folder / "bad.wav", np.zeros(RATE), RATE)
    first = audit_tracks(table(folder), tmp_path)
    decoded.clear()
    second = audit_tracks(table(folder), tmp_path)
    assert decoded == []
    pd.testing.assert_frame_equal(first.tracks, second.tracks)
    pd.testing.assert_frame_equal(first.problems, second.problems)


def test_only_new_content_is_decoded(folder: Path, tmp_path: Path, decoded: list[str]) -> None:
    audit_tracks(corpus(folder), tmp_path)
    decoded.clear()
    (folder / "t0.wav").rename(folder / "renamed.wav")
    soundfile.write(folder / "t1.wav", np.zeros(RATE), RATE)
    found = audit_tracks(table(folder), tmp_path)
    assert decoded == ["t1.wav"]
    assert found.problems["problem"].tolist() == ["silent"]
    assert "renamed" in set(found.tracks["track_id"])


def test_another_minimal_duration_needs_no_decoding(
    folder: Path, tmp_path: Path, decoded: list[str]
) -> None:
    corpus(folder)
    soundfile.write(folder / "long.wav", np.linspace(-1, 1, 2 * RATE), RATE)
    soundfile.write(folder / "long2.wav", np.linspace(1, -1, 2 * RATE), RATE)
    assert len(audit_tracks(table(folder), tmp_path).tracks) == 8
    decoded.clear()
    found = audit_tracks(table(folder), tmp_path, at_least_s=1.0, allow=0.8)
    assert found.tracks["track_id"].tolist() == ["long", "long2"]
    assert decoded == []


def test_an_interrupted_audit_keeps_its_findings(
    folder: Path, tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "CHUNK_TRACKS", 2)
    tracks = corpus(folder)

    def interrupted(work: Callable[[T], R], todo: Sequence[T], /) -> Iterable[R]:
        for i, chunk in enumerate(todo):
            if i == 2 and decoded:
                raise KeyboardInterrupt
            yield work(chunk)

    with pytest.raises(KeyboardInterrupt):
        audit_recordings(tracks, min_duration_s=0.1, cache_root=tmp_path, run=interrupted)
    decoded.clear()
    audit_tracks(tracks, tmp_path)
    assert decoded == ["t4.wav", "t5.wav"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 0}', '{"format": 1, "contents": 3}'])
def test_an_unreadable_cache_is_replaced(
    folder: Path, tmp_path: Path, decoded: list[str], text: str
) -> None:
    (tmp_path / "audit.json").write_text(text)
    audit_tracks(corpus(folder), tmp_path)
    audit_tracks(table(folder), tmp_path)
    assert len(decoded) == 6


def test_a_process_pool_gives_the_same_result(folder: Path, tmp_path: Path) -> None:
    corpus(folder)
    soundfile.write(folder / "bad.wav", np.zeros(RATE), RATE)
    alone = audit_tracks(table(folder), tmp_path / "a")
    with ProcessPoolExecutor(2) as pool:
        together = audit_recordings(
            table(folder), min_duration_s=0.1, cache_root=tmp_path / "b", run=pool.map
        )
    pd.testing.assert_frame_equal(alone.tracks, together.tracks)
    pd.testing.assert_frame_equal(alone.problems, together.problems)


def test_too_many_bad_tracks_raise_an_error_that_says_what_to_type(
    folder: Path, tmp_path: Path
) -> None:
    corpus(folder, n=28)
    for i in range(12):
        soundfile.write(folder / f"bad{i:02}.wav", np.zeros(RATE + i), RATE)
    with pytest.raises(UserError) as caught:
        audit_tracks(table(folder), tmp_path, allow=0.2)
    text = str(caught.value)
    assert "12 of 40 tracks are bad (30.0%), but at most 20.0% may be" in text
    assert f"{folder / 'bad09.wav'}: silent (its peak is 0" in text
    assert "bad10.wav" not in text
    assert "... and 2 more" in text
    assert "--audit.max_bad_share 0.3" in text
    assert len(audit_tracks(table(folder), tmp_path, allow=0.3).tracks) == 28


def test_files_without_a_decoder_are_one_line_for_each_kind_and_examined_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus(folder)
    for name in ("webm", "m4a alac"):
        encoding = ENCODINGS[name]
        data = encode(encoding, chirp(0.3, encoding.sample_rate, encoding.n_channels))
        for i in range(12):
            (folder / f"{name[0]}{i:02}.{name.split()[0]}").write_bytes(data + bytes(i))
    monkeypatch.setattr(sound, "find_spec", lambda name: None)
    with pytest.raises(UserError) as caught:
        audit_tracks(table(folder), tmp_path)
    lines = [line for line in str(caught.value).splitlines() if "without a decoder" in line]
    assert len(lines) == 2
    assert f"  12 without a decoder, such as {folder / 'm00.m4a'}: m4a, m4b, mp4, 3gp" in lines[0]
    assert "webm, weba, mka files need PyAV; type: " in lines[1]
    assert "... and" not in str(caught.value)
    found = audit_tracks(table(folder), tmp_path, allow=0.9)
    assert found.problems["problem"].tolist() == ["no decoder"] * 24
    monkeypatch.undo()
    assert audit_tracks(table(folder), tmp_path).problems.empty


def test_no_track_left_raises_even_if_all_may_be_bad(folder: Path, tmp_path: Path) -> None:
    for i in range(3):
        soundfile.write(folder / f"{i}.wav", np.zeros(RATE), RATE)
    with pytest.raises(UserError, match=r"no track is left of 3 tracks(.|\n)*0.wav: silent"):
        audit_tracks(table(folder), tmp_path, allow=1.0)
    with pytest.raises(UserError, match="the dataset has no tracks"):
        audit_tracks(table(folder).iloc[:0], tmp_path)


def test_one_label_left_raises(folder: Path, tmp_path: Path) -> None:
    tracks = corpus(folder, n=2)
    soundfile.write(folder / "t1.wav", np.zeros(RATE), RATE)
    with pytest.raises(UserError, match=r"only the label 'a' is left(.|\n)*t1.wav: silent"):
        audit_tracks(tracks, tmp_path)
