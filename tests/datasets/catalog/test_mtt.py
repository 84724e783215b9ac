from pathlib import Path

import pytest

from chorale.datasets.catalog import mtt
from chorale.datasets.catalog.mtt import Config
from chorale.datasets.config import read_config
from chorale.datasets.errors import UserError

TAGS = ("rare", "guitar", "no voice", "classical")
CLIPS = (
    ("2", "0101", "f/american_bach-1-0-29.mp3", "American Bach Soloists"),
    ("6", "0110", "f/american_bach-1-30-59.mp3", "American Bach Soloists"),
    ("10", "0000", "c/strojovna_07-1-0-29.mp3", "Strojovna 07"),
    ("11", "1000", "c/strojovna_07-1-30-59.mp3", "Strojovna 07"),
    ("35644", "0111", "6/norine_braun-1-0-29.mp3", ""),
)


def line(*cells: str) -> str:
    return "\t".join(f'"{cell}"' for cell in cells)


def tree(root: Path, *more: str, audio: str = "", info: bool = True) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    rows = [line(clip, *tags, path) for clip, tags, path, _ in CLIPS]
    text = "\n".join([line("clip_id", *TAGS, "mp3_path"), *rows, *more, ""])
    (root / "annotations_final.csv").write_text(text)
    if info:
        rows = [
            line(clip, "1", "An \x27odd\x27 title", artist, path) for clip, _, path, artist in CLIPS
        ]
        header = line("clip_id", "track_number", "title", "artist", "mp3_path")
        (root / "clip_info_final.csv").write_text("\n".join([header, *rows, ""]))
    for _, _, path, _ in CLIPS:
        (root / audio / path).parent.mkdir(parents=True, exist_ok=True)
        (root / audio / path).write_bytes(b"ID3")
    return root


def refusal(root: Path) -> str:
    with pytest.raises(UserError) as caught:
        mtt.tracks(Config(str(root)))
    return str(caught.value)


@pytest.mark.parametrize("audio", ["", "mp3", "audio"])
def test_a_row_has_the_most_frequent_tags_and_the_artist(
    tmp_path: Path, audio: str, caplog: pytest.LogCaptureFixture
) -> None:
    table = mtt.tracks(Config(str(tree(tmp_path, audio=audio)), n_tags=2))
    assert table["track_id"].tolist() == ["clip-00002", "clip-00006", "clip-35644"]
    assert table["label"].tolist() == ["guitar", "guitar;no voice", "guitar;no voice"]
    groups = ["artist-American Bach Soloists"] * 2 + ["clip-35644"]
    assert table["group"].tolist() == groups
    assert table["split"].isna().all()
    assert all(Path(path).is_file() for path in table["path"])
    assert "left out 2 of 5 excerpts, which have none of the 2 most frequent tags" in caplog.text


def test_all_tags_can_be_used(tmp_path: Path) -> None:
    table = mtt.tracks(Config(str(tree(tmp_path))))
    assert table["label"].tolist() == [
        "classical;guitar",
        "guitar;no voice",
        "rare",
        "classical;guitar;no voice",
    ]
    with pytest.raises(UserError, match="less than or equal to 188"):
        read_config(Config, {"root": "x", "n_tags": 189}, where="here")


def test_without_the_artists_an_excerpt_is_its_own_group_and_this_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = mtt.tracks(Config(str(tree(tmp_path, info=False))))
    assert table["group"].nunique() == len(table)
    assert "a song may be on both sides of a split" in caplog.text


def test_missing_excerpts_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tree(tmp_path)
    (root / "6" / "norine_braun-1-0-29.mp3").unlink()
    assert len(mtt.tracks(Config(str(root)))) == 3
    assert "mtt: 1 of 4 recordings are not in" in caplog.text


@pytest.mark.parametrize(
    "row", [line("7", "2", "0", "0", "0", "f/x.mp3"), line("7", "1", "f/x.mp3")]
)
def test_a_damaged_row_raises_a_user_error(tmp_path: Path, row: str) -> None:
    assert "1 rows with other cells: '7'" in refusal(tree(tmp_path, row))


def test_a_table_that_is_none_raises_a_user_error(tmp_path: Path) -> None:
    root = tree(tmp_path)
    (root / "annotations_final.csv").write_text("clip_id,guitar,mp3_path\n2,1,f/a.mp3\n")
    assert "lacks 2 columns: 'clip_id', 'mp3_path'" in refusal(root)
    (root / "annotations_final.csv").write_text("")
    assert "cannot be read as a table with tabs" in refusal(root)
    (root / "annotations_final.csv").unlink()
    assert "there is no annotations_final.csv" in refusal(root)
