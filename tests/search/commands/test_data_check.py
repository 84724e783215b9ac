import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from rich.console import Console

from chorale.datasets.errors import UserError
from chorale.search.cli import main
from chorale.search.commands import data_check
from chorale.search.config.resolve import resolve
from chorale.search.config.schema import load_sweep_config
from chorale.search.console.progress import Progress
from chorale.search.data.prepare import PreparedData, prepare

RATE = 8_000


def tune(seed: int) -> np.ndarray:
    """2.6 s of notes, different for each seed."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(RATE // 5) / RATE
    notes = [
        np.sin(2 * np.pi * 300 * 2 ** (rng.integers(24) / 12) * time_s) * np.exp(-6 * time_s)
        for _ in range(13)
    ]
    hiss = 0.02 * rng.standard_normal(13 * len(time_s))
    return np.asarray(0.5 * np.concatenate(notes) + hiss, np.float32)


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    """Two labels x 5 artists x 2 tracks, all different."""
    root = tmp_path / "audio"
    for i, label in enumerate(("jazz", "rock")):
        (root / label).mkdir(parents=True)
        for artist in range(5):
            for take in range(2):
                name = f"{label}-artist{label[0]}{artist}-{take}.wav"
                soundfile.write(root / label / name, tune(100 * i + 10 * artist + take), RATE)
    return root


@pytest.fixture
def sweep(audio: Path, tmp_path: Path) -> str:
    file = tmp_path / "mine.yaml"
    file.write_text(
        f"""
dataset: {{name: folder, root: {audio}, group: '(artist..)'}}
features: {{mfcc: {{sample_rate: 8000, n_fft: 256, hop_length: 128, n_mels: 24, n_mfcc: 12}}}}
finalists: {{configs: 2, folds: 2}}
cluster: {{address: none}}
runs: {tmp_path / "runs"}
"""
    )
    return str(file)


def copy(audio: Path, source: str, name: str) -> None:
    """The same recording again, quieter and as FLAC."""
    wave, _ = soundfile.read(audio / source, dtype="float32")
    soundfile.write(audio / name, 0.7 * wave, RATE)


def prepared(sweep: str, **dotted: object) -> tuple[PreparedData, str]:
    keys = {name.replace("__", "."): value for name, value in dotted.items()}
    printed = io.StringIO()
    progress = Progress(Console(file=printed, width=400))
    return prepare(
        resolve(load_sweep_config(sweep, keys), where=sweep), progress, map
    ), printed.getvalue()


def test_clean_data_exits_with_0(sweep: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", sweep]) == 0
    assert "Nothing is wrong with the 20 tracks." in capsys.readouterr().out


def test_a_folder_of_recordings_is_checked_as_it_is(
    audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["--group", "(artist..)", "--cluster.address", "none", "--runs", str(tmp_path / "runs")]
    assert main(["data", "check", str(audio), *args]) == 0
    assert "Nothing is wrong with the 20 tracks." in capsys.readouterr().out


def test_every_problem_is_listed_by_path_and_reason(
    sweep: str, audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(audio / "jazz" / "quiet-artistj0-9.wav", np.zeros(RATE), RATE)
    (audio / "rock" / "broken-artistr0-9.wav").write_bytes(b"RIFF" + bytes(100))
    soundfile.write(audio / "rock" / "hot-artistr1-9.wav", np.clip(4 * tune(77), -1, 1), RATE)
    lying = audio / "rock" / "lying-artistr2-9.wav"
    soundfile.write(lying, tune(78), RATE, format="FLAC")
    copy(audio, "jazz/jazz-artistj1-0.wav", "jazz/again-artistj2-9.flac")
    inverted = audio / "rock" / "inverted-artistr2-8.wav"
    soundfile.write(inverted, np.stack([tune(79), -tune(79)], axis=1), RATE)
    recorder = audio / "rock" / "recorder-artistr2-7.wav"
    soundfile.write(recorder, tune(80), RATE)
    recorder.write_bytes(recorder.read_bytes()[:40] + bytes(4) + recorder.read_bytes()[44:])
    assert main(["data", "check", sweep, "--csv", str(tmp_path / "out.csv")]) == 1
    found = pd.read_csv(tmp_path / "out.csv")
    reasons = {
        Path(path).name.split("-")[0]: problem
        for path, problem in zip(found["path"], found["problem"], strict=True)
    }
    assert reasons == {
        "quiet": "silent",
        "broken": "undecodable",
        "hot": "clipped",
        "lying": "wrong extension",
        "jazz": "duplicate",
        "inverted": "opposite phase",
        "recorder": "length differs from header",
    }
    output = capsys.readouterr().out
    assert "1  silent (quarantined)" in output
    assert "1  duplicate (kept on one side)" in output
    assert "25 of 27 tracks are usable." in output


def test_a_recording_with_two_labels_is_listed_under_both_paths(
    sweep: str, audio: Path, tmp_path: Path
) -> None:
    copy(audio, "jazz/jazz-artistj1-0.wav", "rock/again-artistr2-9.flac")
    assert main(["data", "check", sweep, f"--csv={tmp_path / 'out.csv'}"]) == 1
    found = pd.read_csv(tmp_path / "out.csv")
    assert found["problem"].tolist() == ["labels", "labels"]
    assert set(found["outcome"]) == {"stops the sweep"}
    assert {Path(path).name for path in found["path"]} == {
        "jazz-artistj1-0.wav",
        "again-artistr2-9.flac",
    }


def test_an_infeasible_split_does_not_hide_other_problems(
    sweep: str, audio: Path, tmp_path: Path
) -> None:
    soundfile.write(audio / "jazz" / "quiet-artistj0-9.wav", np.zeros(RATE), RATE)
    args = [sweep, "--dataset.group", "^(....)", "--csv", str(tmp_path / "out.csv")]
    assert main(["data", "check", *args]) == 1
    found = pd.read_csv(tmp_path / "out.csv")
    assert set(found["problem"]) == {"silent", "no split"}
    assert "no number of folds works" in found["detail"].iloc[-1]


def test_all_bad_tracks_are_listed_even_above_the_sweeps_limit(
    sweep: str, audio: Path, tmp_path: Path
) -> None:
    for path in audio.rglob("rock-*.wav"):
        path.write_bytes(b"")
    assert main(["data", "check", sweep, f"--csv={tmp_path / 'out.csv'}"]) == 1
    found = pd.read_csv(tmp_path / "out.csv")
    assert (found["problem"] == "empty").sum() == 10
    assert "no split" in set(found["problem"])


def test_a_datasets_name_is_enough(
    audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(audio / "jazz" / "quiet-artistj0-9.wav", np.zeros(RATE), RATE)
    args = ["folder", "--root", str(audio), "--group", "(artist..)", "--cluster.address", "none"]
    args += ["--runs", str(tmp_path / "runs"), "--finalists.folds", "2"]
    assert main(["data", "check", *args, "--csv", str(tmp_path / "out.csv")]) == 1
    assert pd.read_csv(tmp_path / "out.csv")["problem"].tolist() == ["silent"]
    assert "20 of 21 tracks are usable." in capsys.readouterr().out


def test_files_that_are_not_read_are_listed_by_ending_and_the_last_line_accounts_for_all(
    sweep: str, audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(audio / "jazz" / "quiet-artistj0-9.wav", np.zeros(RATE), RATE)
    for i in range(12):
        (audio / "rock" / f"phone{i}.xyz").write_bytes(b"audio")
    for name in ("jazz/notes.txt", "jazz/._a.wav", ".hidden", "loose.wav", "pop/only.xyz"):
        (audio / name).parent.mkdir(exist_ok=True)
        (audio / name).write_bytes(b"x")
    assert main(["data", "check", sweep, "--csv", str(tmp_path / "out.csv")]) == 1
    output = capsys.readouterr().out
    assert "13 files, such as this one" in " ".join(output.split())
    assert "label without a track" in output
    last = output.strip().splitlines()[-1]
    assert last == (
        "38 files: 20 tracks used, 1 track quarantined, 13 xyz not read, 1 wav without a label's "
        "folder, 1 hidden, 1 AppleDouble, 1 txt (no audio)."
    )
    assert sum(path.is_file() for path in audio.rglob("*")) == 38
    found = pd.read_csv(tmp_path / "out.csv")
    assert (found["outcome"] == "not read").sum() == 14
    assert found["path"][found["outcome"] == "no track"].tolist() == [str(audio / "pop")]


def test_text_and_pictures_are_counted_and_are_no_problem(
    sweep: str, audio: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (audio / "jazz" / "cover.jpg").write_bytes(b"picture")
    assert main(["data", "check", sweep]) == 0
    assert "21 files: 20 tracks used, 1 jpg (no audio)." in capsys.readouterr().out


def test_labels_that_look_alike_are_pointed_out(
    sweep: str, audio: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (audio / "Jazz ").mkdir()
    for artist in range(5):
        wave = tune(500 + artist)
        soundfile.write(audio / "Jazz " / f"x-artistx{artist}-0.wav", wave, RATE)
    assert main(["data", "check", sweep]) == 1
    output = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "'jazz' (10), 'Jazz ' (5) are nearly the same" in output
    assert """labels: {merge: {jazz: ["Jazz "]}} in the sweep file""" in output
    found, printed = prepared(sweep)
    assert set(found.class_names) == {"jazz", "Jazz ", "rock"}
    assert "warning: the labels 'jazz' (10), 'Jazz ' (5) are nearly the same" in printed


def test_a_sweep_locks_the_test_folder_of_an_official_split(sweep: str, audio: Path) -> None:
    for path in sorted(audio.rglob("*.wav")):
        artist = int(path.name.split("-")[1][-1])
        part = audio / ("train" if artist < 3 else "val" if artist == 3 else "test")
        (part / path.parent.name).mkdir(parents=True, exist_ok=True)
        path.rename(part / path.parent.name / path.name)
    for label in ("jazz", "rock"):
        (audio / label).rmdir()
    found = prepared(sweep)[0]
    assert found.class_names == ("jazz", "rock")
    assert found.split.protocol.startswith("test official")
    assert {name.split("/")[0] for name in found.split.test_ids} == {"test"}
    assert {name.split("/")[0] for name in found.split.development_ids} == {"train", "val"}


def test_a_sweep_prints_one_line_about_files_that_are_not_read(sweep: str, audio: Path) -> None:
    for i in range(3):
        (audio / "rock" / f"{i}.xyz").write_bytes(b"audio")
    (audio / "rock" / "notes.txt").write_bytes(b"text")
    (audio / "pop").mkdir()
    [line] = [line for line in prepared(sweep)[1].splitlines() if "warning" in line]
    assert "3 files are not read: 3 xyz not read; no track at all in" in line
    assert f"'{audio / 'pop'}'; chorale data check lists them" in line


@pytest.mark.parametrize(
    ("args", "expected", "code"),
    [
        (
            ["folder"],
            "dataset 'folder' needs root .*; type: chorale data check folder --root ROOT",
            1,
        ),
        ([], r"expected a sweep file.*\(chorale data check NAME\), but got none", 2),
        (["--csv", "x"], "expected a sweep file.*but got none", 2),
        (["nothing.yaml"], "there is no sweep file 'nothing.yaml'", 1),
        (["fsdd", "--rooot", "x"], "did you mean --root. keys of the dataset: root;", 1),
        (["fsdd", "--dry-run"], "unknown option '--dry-run'", 2),
    ],
)
def test_wrong_arguments_are_refused(
    args: list[str], expected: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "check", *args]) == code
    [line] = capsys.readouterr().err.splitlines()
    assert re.search(expected, line)


def test_a_sweep_joins_the_groups_of_duplicates_and_prints_it(sweep: str, audio: Path) -> None:
    copy(audio, "jazz/jazz-artistj1-0.wav", "jazz/again-artistj2-9.flac")
    found, output = prepared(sweep)
    groups = dict(zip(found.tracks["track_id"], found.tracks["group"], strict=True))
    joined = [group for name, group in groups.items() if "artistj1" in name or "artistj2" in name]
    assert set(joined) == {"artistj1"}
    assert "duplicates: 1 (groups joined to keep them on one side: 1); see" in output


def test_a_sweep_stops_at_a_recording_with_two_labels_unless_accepted(
    sweep: str, audio: Path
) -> None:
    copy(audio, "jazz/jazz-artistj1-0.wav", "rock/again-artistr2-9.flac")
    with pytest.raises(UserError, match="one recording under two labels") as raised:
        prepared(sweep)
    assert "--audit.accept '[labels]'" in str(raised.value)
    written = pd.read_csv(load_sweep_config(sweep, {}).paths.problems_csv)
    assert written["problem"].tolist() == ["labels", "labels"]
    assert len(prepared(sweep, audit__accept=["labels"])[0].tracks) == 21
    assert len(prepared(sweep, audit__fingerprint=False)[0].tracks) == 21


def test_a_recording_in_both_test_and_training_stops_a_sweep(sweep: str, audio: Path) -> None:
    copy(audio, "jazz/jazz-artistj1-0.wav", "jazz/again-artistj2-9.flac")
    named = {"split__test_groups": ["artistj1", "artistr1"]}
    with pytest.raises(UserError, match="duplicates: one recording on two sides"):
        prepared(sweep, **named)
    assert len(prepared(sweep, **named, audit__accept=["duplicates"])[0].tracks) == 21


def test_an_unknown_kind_of_leak_is_refused_with_the_known_ones(sweep: str) -> None:
    with pytest.raises(UserError, match=r"audit\.accept.*'duplicates', 'labels', 'groups'"):
        load_sweep_config(sweep, {"audit.accept": ["everything"]})


def test_a_split_by_track_allows_groups_on_two_sides(sweep: str) -> None:
    assert len(prepared(sweep, split__by="track")[0].tracks) == 20


def test_missing_groups_are_reported_by_check_sweep_and_report(
    sweep: str, audio: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for label in ("jazz", "rock"):
        for path in sorted((audio / label).glob("*.wav")):
            below = audio / label / path.name.split("-")[1]
            below.mkdir(exist_ok=True)
            path.rename(below / path.name)
    assert main(["data", "check", sweep, "--dataset.group", "null"]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "Split by track (no groups were given)" in output
    assert "group: parent_folder (the 20 tracks are in 10 folders)" in output
    assert "Nothing is wrong" not in output
    assert main(["data", "check", sweep, "--dataset.group", "parent_folder"]) == 0
    assert "Nothing is wrong with the 20 tracks." in capsys.readouterr().out
    printed = io.StringIO()
    resolved = resolve(
        load_sweep_config(sweep, {"dataset.group": None, "finalists.folds": 9}), where=sweep
    )
    found = prepare(resolved, Progress(Console(file=printed, width=400)), map)
    assert found.split.protocol.startswith("test by track (no groups were given), folds by track")
    lines = printed.getvalue()
    assert "2 folds" not in lines
    assert "by track (no groups were given)" in lines
    assert "group: parent_folder" in lines


def test_several_labels_are_counted() -> None:
    texts, groups = ["bass;drums", "bass", "piano", "bass;drums;piano"], ["x", "x", "y", "z"]
    table = pd.DataFrame({"label": texts, "group": groups})
    assert data_check.label_lines(table) == [
        "3 labels, 1 to 3 of each track, 1.8 on average; 2 of 4 tracks have several",
        "tracks with each: bass 3 (2 groups), drums 2 (2 groups), piano 2 (2 groups)",
    ]
    assert data_check.label_lines(table.assign(label="bass")) == []
