import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from chorale.datasets.catalog import folder
from chorale.datasets.errors import UserError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"RIFF")
    return root


def read(root: Path, **options: Any) -> pd.DataFrame:
    return folder.tracks(folder.Config(str(root), **options))


def refusal(root: Path, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(root, **options)
    return str(caught.value)


def manifest(root: Path, text: str, name: str = "manifest.csv") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_label_is_the_first_folder_and_a_track_its_own_group(tmp_path: Path) -> None:
    touch(tmp_path, "rock/b.wav", "jazz/live/1.FLAC", "rock/a.Mp3", "rock/notes.txt")
    table = read(tmp_path)
    assert table["track_id"].tolist() == ["jazz/live/1.FLAC", "rock/a.Mp3", "rock/b.wav"]
    assert table["label"].tolist() == ["jazz", "rock", "rock"]
    assert table["group"].tolist() == table["track_id"].tolist()
    assert all(Path(path).is_file() for path in table["path"])
    assert table["split"].isna().all()


@pytest.mark.parametrize("hidden", ["rock/._a.wav", ".trash/a.wav", "rock/.old/a.wav"])
def test_hidden_and_apple_double_files_are_skipped(tmp_path: Path, hidden: str) -> None:
    touch(tmp_path, "rock/a.wav", "jazz/a.wav", hidden)
    assert read(tmp_path)["track_id"].tolist() == ["jazz/a.wav", "rock/a.wav"]


def test_circular_links_terminate_and_do_not_replace_paths(tmp_path: Path) -> None:
    root = touch(tmp_path / "root", "rock/a.wav", "jazz/a.wav")
    touch(tmp_path / "elsewhere", "pop/b.wav")
    (root / "rock" / "up").symlink_to(root, target_is_directory=True)
    (root / "a_link").symlink_to(root / "jazz", target_is_directory=True)
    (root / "pop").symlink_to(tmp_path / "elsewhere" / "pop", target_is_directory=True)
    (tmp_path / "elsewhere" / "pop" / "again").symlink_to(root / "pop", target_is_directory=True)
    (root / "jazz" / "link.wav").symlink_to(root / "nowhere.wav")
    assert read(root)["track_id"].tolist() == ["jazz/a.wav", "pop/b.wav", "rock/a.wav"]


def test_other_file_extensions_can_be_configured(tmp_path: Path) -> None:
    touch(tmp_path, "rock/a.aiff", "jazz/a.AIFF", "jazz/b.wav")
    assert read(tmp_path, extensions=(".aiff",))["track_id"].tolist() == [
        "jazz/a.AIFF",
        "rock/a.aiff",
    ]


def test_files_without_a_label_are_skipped_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, "rock/a.wav", "jazz/a.wav", "loose.wav")
    assert len(read(tmp_path)) == 2
    assert "skipped 1 files directly in" in caplog.text


@pytest.mark.parametrize(
    ("pattern", "groups"),
    [
        (r"/([^_/]+)_", ["miles", "ac", "ac"]),
        (r"^(?:jazz|rock)/(?P<group>.)", ["m", "a", "a"]),
        (r"(/)(?P<group>[a-z]+)", ["miles", "ac", "ac"]),
    ],
)
def test_a_regular_expression_gives_the_groups(
    tmp_path: Path, pattern: str, groups: list[str]
) -> None:
    touch(tmp_path, "rock/ac_1.wav", "rock/ac_2.wav", "jazz/miles_1.wav")
    assert read(tmp_path, group=pattern)["group"].tolist() == groups


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", "is no regular expression: missing ), unterminated subpattern"),
        (
            "[a-z]+",
            r"has no ( ) around the part that is the group; an example name is 'jazz/1.wav'",
        ),
        (r"/([a-z]+)\.", "finds no group in 1 of 2 names, such as 'jazz/1.wav'"),
        (r"/([a-z]*)", "finds no group in 1 of 2 names, such as 'jazz/1.wav'"),
    ],
)
def test_a_regular_expression_that_does_not_match_raises(
    tmp_path: Path, pattern: str, message: str
) -> None:
    touch(tmp_path, "rock/a.wav", "jazz/1.wav")
    text = refusal(tmp_path, group=pattern)
    assert message in text
    assert pattern in text
    assert "--dataset.group" in text


def test_a_missing_folder_raises_with_its_name(tmp_path: Path) -> None:
    assert "nowhere' does not exist" in refusal(tmp_path / "nowhere")


def test_an_empty_folder_raises_with_the_expected_layout(tmp_path: Path) -> None:
    text = refusal(touch(tmp_path, "rock/a.txt"))
    assert "LABEL/.../FILE with one of the extensions wav, flac, ogg, mp3, au" in text
    assert "--dataset.manifest" in text


def test_a_flat_folder_raises_because_labels_are_missing(tmp_path: Path) -> None:
    assert "2 are directly in it" in refusal(touch(tmp_path, "a.wav", "b.wav"))


def test_a_single_class_raises(tmp_path: Path) -> None:
    text = refusal(touch(tmp_path, "rock/a.wav", "rock/b.wav"))
    assert "all 2 tracks have the one label 'rock'" in text


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_an_unreadable_folder_raises_with_its_name(tmp_path: Path) -> None:
    touch(tmp_path, "rock/a.wav", "jazz/a.wav")
    (tmp_path / "jazz").chmod(0)
    try:
        assert "cannot be read" in refusal(tmp_path)
    finally:
        (tmp_path / "jazz").chmod(0o755)


def test_a_file_name_that_is_not_utf8_raises(tmp_path: Path) -> None:
    touch(tmp_path, "rock/a.wav", "jazz/a.wav")
    try:
        (tmp_path / "rock" / os.fsdecode(b"\xff.wav")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes valid UTF-8 only")
    assert "is not valid UTF-8" in refusal(tmp_path)


def test_a_manifest_has_labels_groups_and_splits(tmp_path: Path) -> None:
    root = touch(tmp_path / "audio", "1.wav", "2.wav", "deep/3.wav")
    text = "\ufefflabel , path,group,split,year\nNA,1.wav,x,train,1\nrock,2.wav,,test,2\n"
    manifest(root, text + 'rock,deep/../deep/3.wav,"y, z",test,3\n')
    table = read(root, manifest="manifest.csv")
    assert table["track_id"].tolist() == ["1.wav", "2.wav", "deep/3.wav"]
    assert table["path"].tolist() == [str(root / name) for name in table["track_id"]]
    assert table["label"].tolist() == ["NA", "rock", "rock"]
    assert table["group"].tolist() == ["x", "2.wav", "y, z"]
    assert table["split"].tolist() == ["train", "test", "test"]


def test_a_manifest_may_be_in_the_folder_of_its_files(tmp_path: Path) -> None:
    root = touch(tmp_path / "audio", "1.wav")
    touch(tmp_path / "lists", "2.wav")
    path = manifest(tmp_path / "lists", "path,label\n1.wav,a\n2.wav,b\n")
    table = read(root, manifest=str(path), group=r"(\d)\.wav")
    assert table["track_id"].tolist() == ["../lists/2.wav", "1.wav"]
    assert table["group"].tolist() == ["2", "1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("paht,label\n", "did you mean 'path' instead of 'paht'?"),
        ("path;label\n1.wav;a\n", "separated by commas"),
        ("", "lacks the column path and label"),
        ("path,label\n", "it has no rows"),
        ("path,label\n,a\n1.wav,\n", "line 3: path and label must not be empty"),
        ("path,label,split\n1.wav,a,validation\n", "did you mean 'valid'? choose from: train"),
        ("path,label,split\n1.wav,a,\n2.wav,b,test\n", "line 2: split '' is unknown"),
        ("path,label\n1.wav,a\n1.wav,b\n2.wav,b\n", "'1.wav' is used by two tracks"),
        ("path,label\n1.wav,a\n2.wav,a\n", "one label 'a'"),
        ("path,label,group,split\n1.wav,a,g,train\n2.wav,b,g,test\n", "'g' (test, train)"),
    ],
)
def test_a_manifest_with_an_error_raises(tmp_path: Path, text: str, message: str) -> None:
    touch(tmp_path, "1.wav", "2.wav")
    manifest(tmp_path, text)
    assert message in refusal(tmp_path, manifest="manifest.csv")


def test_only_five_missing_files_are_listed(tmp_path: Path) -> None:
    rows = "".join(f"gone{i}.wav,a\n" for i in range(7))
    touch(tmp_path, "1.wav")
    manifest(tmp_path, "path,label\n1.wav,b\n" + rows)
    text = refusal(tmp_path, manifest="manifest.csv")
    assert "7 files are neither below" in text
    assert "'gone4.wav' (line 7), and 2 more" in text
    assert "gone5" not in text


def test_a_missing_or_binary_manifest_raises(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes(b"path,label\n1.wav,caf\xe9\n")
    assert "save it as 'CSV UTF-8'" in refusal(tmp_path, manifest="latin.csv")
    assert "there is no manifest" in refusal(tmp_path, manifest="missing.csv")
