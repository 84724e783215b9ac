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


def test_files_without_a_label_are_no_tracks_and_are_accounted_for(tmp_path: Path) -> None:
    touch(tmp_path, "rock/a.wav", "jazz/a.wav", "loose.wav")
    assert len(read(tmp_path)) == 2
    unread = folder.not_read(folder.Config(str(tmp_path)))
    assert unread["path"].tolist() == [str(tmp_path / "loose.wav")]
    assert unread["problem"].tolist() == ["wav without a label's folder"]


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


def test_a_semicolon_in_a_folders_name_becomes_a_comma_with_a_note(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = read(touch(tmp_path, "rock;pop/1.wav", "jazz/2.wav"))
    assert table["label"].tolist() == ["jazz", "rock,pop"]
    assert "is replaced by a comma" in caplog.text


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
        ("", "lacks the column path and label"),
        ("path,label\n", "it has no rows"),
        ("path,label\n,a\n1.wav,\n", "lines 2, 3: path and label must not be empty"),
        ("path,label,split\n1.wav,a,vaild\n", "did you mean 'valid'? choose from: train"),
        ("path,label,split\n1.wav,a,\n2.wav,b,test\n", "line 2: split '' is unknown"),
        ("path,label\n1.wav,a\n1.wav,b\n2.wav,b\n", "'1.wav' is 'a' (line 2) and 'b' (line 3)"),
        ("path,label\n1.wav,a\n2.wav,a\n", "one label 'a'"),
        (
            "path,label,group,split\n1.wav,a,g,train\n2.wav,b,g,test\n",
            "'g' (test, train; lines 2, 3)",
        ),
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


def parts(root: Path, *names: str, labels: tuple[str, ...] = ("cats", "dogs")) -> Path:
    return touch(root, *(f"{name}/{label}/{name}.wav" for name in names for label in labels))


@pytest.mark.parametrize("valid", ["val", "valid", "Validation", "dev"])
def test_train_val_and_test_folders_are_the_official_split(
    tmp_path: Path, valid: str, caplog: pytest.LogCaptureFixture
) -> None:
    table = read(parts(tmp_path, "train", valid, "test"))
    assert set(table["label"]) == {"cats", "dogs"}
    by_folder = dict(zip(table["track_id"].str.split("/").str[0], table["split"], strict=True))
    assert by_folder == {"train": "train", valid: "valid", "test": "test"}
    assert "are read as the official split (train 2, valid 2, test 2 tracks)" in caplog.text
    assert "train and valid are divided into folds together" in caplog.text


@pytest.mark.parametrize("names", [["fold1", "fold2"], ["fold_0", "fold_1"], ["Fold 1", "Fold 2"]])
def test_fold_folders_are_official_folds_counted_from_0(
    tmp_path: Path, names: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    table = read(parts(tmp_path, *names))
    assert table["fold"].tolist() == [0, 0, 1, 1]
    assert set(table["label"]) == {"cats", "dogs"}
    assert "are read as 2 official folds of 2 tracks" in caplog.text


def test_a_label_may_be_named_as_a_part_of_a_split(tmp_path: Path) -> None:
    touch(tmp_path, "train/1.wav", "helicopter/1.wav", "siren/1.wav", "fold1/1.wav")
    assert set(read(tmp_path)["label"]) == {"train", "helicopter", "siren", "fold1"}


@pytest.mark.parametrize(
    ("names", "why", "kind"),
    [
        (["train/a/1.wav", "train/b/1.wav", "test/1.wav"], "1 files in them are in no", "split"),
        (
            ["train/a/1.wav", "test/a/1.wav", "extra/a/1.wav"],
            "beside them there is 'extra'",
            "split",
        ),
        (["train/a/1.wav", "train/b/1.wav", "test/a/1.wav"], "'test' has no audio of 'b'", "split"),
        (
            ["train/a/1.wav", "val/a/1.wav", "dev/a/1.wav"],
            "'val' and 'dev' are the same part",
            "split",
        ),
        (["fold1/1.wav", "fold2/2.wav"], "2 files in them are in no", "fold"),
        (["fold1/a/1.wav", "fold3/a/1.wav"], "fold 2 is missing", "fold"),
        (["fold1/a/1.wav", "fold_1/a/1.wav"], "are the same part", "fold"),
        (["fold1/a/1.wav", "fold2/b/1.wav"], "'fold1' has no audio of 'b'", "fold"),
    ],
)
def test_folders_that_are_not_clear_are_refused_with_the_lines_to_choose_from(
    tmp_path: Path, names: list[str], why: str, kind: str
) -> None:
    text = refusal(touch(tmp_path, *names))
    assert why.replace("'val' and 'dev'", "'dev' and 'val'") in text
    assert f"\n  --dataset.layout {kind}" in text
    assert "\n  --dataset.layout labels" in text


def test_a_layout_can_be_chosen(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.wav", "train/b/1.wav", "test/a/1.wav", "other/a/1.wav", "test/2.wav")
    labels = read(tmp_path, layout="labels")
    assert set(labels["label"]) == {"train", "test", "other"}
    assert labels["split"].isna().all()
    split = read(tmp_path, layout="split")
    assert split["track_id"].tolist() == ["test/a/1.wav", "train/a/1.wav", "train/b/1.wav"]
    unread = folder.not_read(folder.Config(str(tmp_path), layout="split"))
    assert unread["problem"].tolist() == ["wav in no split folder", "wav without a label's folder"]
    assert "needs folders named fold1" in refusal(tmp_path, layout="fold")
    flat = touch(tmp_path / "flat", "train/1.wav", "test/2.wav")
    assert "of a split (2 are in none, such as 'test/2.wav')" in refusal(flat, layout="split")


def test_folds_that_were_asked_for_must_have_no_gaps(tmp_path: Path) -> None:
    parts(tmp_path, "fold1", "fold2", "fold4")
    assert "fold 3 is missing" in refusal(tmp_path, layout="fold")
    assert set(read(tmp_path, layout="labels")["label"]) == {"fold1", "fold2", "fold4"}


def test_parent_folders_are_groups_below_the_labels_of_a_split(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/x/1.wav", "train/b/y/1.wav", "test/a/z/1.wav", "test/b/w/1.wav")
    assert read(tmp_path, group="parent_folder")["group"].tolist() == ["z", "w", "x", "y"]
    touch(tmp_path, "test/a/x/2.wav")
    assert "'x' (test, train)" in refusal(tmp_path, group="parent_folder")


def test_one_folder_of_label_folders_is_refused_with_the_root_to_type(tmp_path: Path) -> None:
    text = refusal(touch(tmp_path, "audio/cats/1.wav", "audio/dogs/1.wav"))
    assert f"the folders in it (cats, dogs), type --dataset.root {tmp_path / 'audio'}" in text


def test_keys_of_a_manifest_are_refused_where_folders_are_read_and_the_other_way_round(
    tmp_path: Path,
) -> None:
    touch(tmp_path, "a/1.wav", "b/2.wav")
    for options in (
        {"columns": folder.Columns(label="x")},
        {"encoding": "cp1252"},
        {"multi_label": True},
    ):
        assert "are about a manifest" in refusal(tmp_path, **options)
    with pytest.raises(ValueError, match="layout=split is about folders"):
        folder.Config(str(tmp_path), manifest="m.csv", layout="split")


def test_a_root_below_an_unknown_users_home_is_a_missing_folder() -> None:
    assert "does not exist" in refusal(Path("~nobody-here/audio"))


def test_audio_with_other_endings_is_named_where_nothing_can_be_read(tmp_path: Path) -> None:
    text = refusal(touch(tmp_path, "a/1.xyz", "b/2.xyz", "b/3.qqq", "b/notes.txt", "meta/list.csv"))
    assert "but 2 xyz, 1 qqq" in text
    assert "such as --dataset.manifest meta/list.csv" in text


def test_metadata_csv_of_hugging_face_is_read_by_itself_without_label_folders(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, "data/1.wav", "data/2.wav")
    manifest(tmp_path, "file_name,label\ndata/1.wav,cat\ndata/2.wav,dog\n", "metadata.csv")
    assert read(tmp_path)["label"].tolist() == ["cat", "dog"]
    assert "is read as the manifest, because no folders are labels" in caplog.text
    assert set(folder.not_read(folder.Config(str(tmp_path)))["problem"]) == {"manifest"}


def test_metadata_csv_is_not_read_beside_label_folders_and_this_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, "a/1.wav", "b/2.wav")
    manifest(tmp_path, "file_name,label\na/1.wav,cat\nb/2.wav,dog\n", "metadata.csv")
    assert read(tmp_path)["label"].tolist() == ["a", "b"]
    assert "is not read, because the folders are labels" in caplog.text


def test_another_metadata_csv_beside_label_folders_is_no_error(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.wav", "b/2.wav")
    (tmp_path / "metadata.csv").write_bytes(b'file_name,label\n"caf\xe9,x')
    assert len(read(tmp_path)) == 2
    touch(tmp_path / "flat", "1.wav")
    (tmp_path / "metadata.csv").rename(tmp_path / "flat" / "metadata.csv")
    assert "is not in UTF-8" in refusal(tmp_path / "flat")


def test_the_files_beside_a_manifest_are_accounted_for(tmp_path: Path) -> None:
    touch(tmp_path, "1.wav", "2.wav", "3.wav", "4.m4a", "notes.txt", ".hidden.wav")
    manifest(tmp_path, "path,label\n1.wav,a\n2.wav,b\n")
    unread = folder.not_read(folder.Config(str(tmp_path), manifest="manifest.csv"))
    found = {
        Path(row["path"]).name: (row["problem"], row["outcome"]) for _, row in unread.iterrows()
    }
    assert found == {
        "3.wav": ("wav not in the manifest", "not read"),
        "4.m4a": ("m4a not in the manifest", "not read"),
        "notes.txt": ("txt (no audio)", "ignored"),
        "manifest.csv": ("manifest", "ignored"),
        ".hidden.wav": ("hidden", "ignored"),
    }
