"""Every file below a root is a track, or accounted for with its reason."""

import os
from pathlib import Path

import pytest

from chorale.datasets.catalog import folder
from chorale.datasets.folders.listing import count_text, ending_of


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"RIFF")
    return root


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    root = touch(
        tmp_path / "music",
        *("birds/1.wav", "birds/2.FLAC", "birds/deep/er/3.Mp3", "birds/4.m4a", "birds/notes.txt"),
        *("cars/1.wav", "cars/2.M4A", "cars/3.xyz", "cars/noending", "cars/.5.wav", "cars/._6.wav"),
        *("rain/1.opus", "rain/2.webm", "loose.wav", "list.csv", ".git/objects/1", ".git/config"),
    )
    (root / "wind").mkdir()
    (root / "cars" / "gone.wav").symlink_to(root / "nowhere.wav")
    return root


def test_every_file_is_a_track_or_has_its_reason(mixed: Path) -> None:
    config = folder.Config(str(mixed), extensions=("wav", "flac", "mp3"))
    unread = folder.not_read(config)
    found = {
        Path(row["path"]).relative_to(mixed).as_posix(): (row["outcome"], row["problem"])
        for _, row in unread.iterrows()
    }
    assert found == {
        "birds/4.m4a": ("not read", "m4a not read"),
        "cars/2.M4A": ("not read", "m4a not read"),
        "cars/3.xyz": ("not read", "xyz not read"),
        "cars/noending": ("not read", "without an ending not read"),
        "cars/gone.wav": ("not read", "broken link"),
        "rain/1.opus": ("not read", "opus not read"),
        "rain/2.webm": ("not read", "webm not read"),
        "loose.wav": ("not read", "wav without a label's folder"),
        "birds/notes.txt": ("ignored", "txt (no audio)"),
        "list.csv": ("ignored", "csv (no audio)"),
        "cars/.5.wav": ("ignored", "hidden"),
        "cars/._6.wav": ("ignored", "AppleDouble"),
        ".git/objects/1": ("ignored", "hidden"),
        ".git/config": ("ignored", "hidden"),
        "rain": ("no track", "label without a track"),
        "wind": ("no track", "label without a track"),
    }
    n_files = sum(len(files) for _, _, files in os.walk(mixed))
    n_tracks = len(folder.tracks(config))
    assert n_tracks + (unread["outcome"] != "no track").sum() == n_files


def test_the_advice_names_all_endings_of_audio_at_once(mixed: Path) -> None:
    unread = folder.not_read(folder.Config(str(mixed), extensions=("wav",)))
    detail = dict(zip(unread["problem"], unread["detail"], strict=True))
    expected = "--dataset.extensions '[wav, flac, m4a, mp3, opus, webm]'"
    assert expected in detail["m4a not read"]
    assert expected in detail["webm not read"]
    assert "if it is audio" in detail["xyz not read"]
    assert "it has 1 opus, 1 webm" in unread["detail"].tolist()


def test_a_label_without_a_track_in_one_part_of_a_split_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.wav", "train/b/1.wav", "test/a/1.wav", "test/b/1.m4a")
    unread = folder.not_read(folder.Config(str(tmp_path), layout="split", extensions=("wav",)))
    empty = unread[unread["outcome"] == "no track"]
    assert empty["path"].tolist() == [str(tmp_path / "test" / "b")]


def test_files_behind_links_are_counted_once(tmp_path: Path) -> None:
    root = touch(tmp_path / "root", "a/1.wav", "b/1.wav", "b/2.m4a")
    (root / "again").symlink_to(root / "b", target_is_directory=True)
    unread = folder.not_read(folder.Config(str(root), extensions=("wav",)))
    assert unread["path"].tolist() == [str(root / "b" / "2.m4a")]


def test_folders_that_a_system_made_are_no_labels(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.wav", "b/1.wav", "__MACOSX/a/._1.wav", "a/@eaDir/1.wav/x.jpg")
    config = folder.Config(str(tmp_path))
    assert folder.tracks(config)["track_id"].tolist() == ["a/1.wav", "b/1.wav"]
    assert folder.not_read(config)["problem"].tolist() == ["AppleDouble", "hidden"]


def test_a_hidden_file_may_have_any_name(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.wav", "b/1.wav")
    try:
        (tmp_path / "a" / os.fsdecode(b".\xff.wav")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes valid UTF-8 only")
    assert folder.not_read(folder.Config(str(tmp_path)))["problem"].tolist() == ["hidden"]


@pytest.mark.parametrize(
    ("name", "ending"),
    [("a.WAV", "wav"), ("a.b/c", ""), ("x.tar.gz", "gz"), ("a.", ""), ("dir.x/a.mp3", "mp3")],
)
def test_endings(name: str, ending: str) -> None:
    assert ending_of(name) == ending


def test_endings_are_counted_the_most_frequent_first() -> None:
    assert count_text(["b", "a", "", "a"]) == "2 a, 1 b, 1 without an ending"
