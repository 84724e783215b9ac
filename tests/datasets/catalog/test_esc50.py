from collections.abc import Iterable
from pathlib import Path

import pytest

from chorale.datasets.catalog import esc50
from chorale.datasets.catalog.esc50 import Config
from chorale.datasets.errors import UserError

ROWS = (
    "1-100032-A-0.wav,1,0,dog,True,100032,A",
    "1-100210-A-36.wav,1,36,vacuum_cleaner,False,100210,A",
    "1-100210-B-36.wav,1,36,vacuum_cleaner,False,100210,B",
    "5-9032-A-0.wav,5,0,dog,True,9032,A",
    "2-5-A-41.wav,2,41,chainsaw,True,5,A",
)
HEADER = "filename,fold,target,category,esc10,src_file,take"


def tree(root: Path, rows: Iterable[str] = ROWS, *, header: str = HEADER) -> Path:
    (root / "meta").mkdir(parents=True)
    (root / "audio").mkdir()
    (root / "meta" / "esc50.csv").write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    for row in ROWS:
        (root / "audio" / row.split(",")[0]).write_bytes(b"RIFF")
    return root


def refusal(root: Path) -> str:
    with pytest.raises(UserError) as caught:
        esc50.tracks(Config(str(root)))
    return str(caught.value)


@pytest.mark.parametrize("below", ["", "ESC-50-master", "ESC-50"])
def test_a_row_has_class_official_fold_and_source(tmp_path: Path, below: str) -> None:
    tree(tmp_path / below if below else tmp_path / "root")
    table = esc50.tracks(Config(str(tmp_path if below else tmp_path / "root")))
    names = ["1-100032-A-0", "1-100210-A-36", "1-100210-B-36", "2-5-A-41", "5-9032-A-0"]
    assert table["track_id"].tolist() == names
    assert table["fold"].tolist() == [0, 0, 0, 1, 4]
    assert table["group"].tolist() == [f"source-{n}" for n in (100032, 100210, 100210, 5, 9032)]
    assert table["label"].tolist() == ["dog", *["vacuum_cleaner"] * 2, "chainsaw", "dog"]
    assert table["split"].isna().all()
    assert all(Path(path).is_file() for path in table["path"])


def test_esc10_selects_its_rows(tmp_path: Path) -> None:
    table = esc50.tracks(Config(str(tree(tmp_path / "root")), esc10=True))
    assert table["label"].tolist() == ["dog", "chainsaw", "dog"]


def test_there_are_fifty_classes() -> None:
    assert len(set(esc50.INFO.labels)) == 50


def test_missing_recordings_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tree(tmp_path / "root", [*ROWS, "3-1-A-0.wav,3,0,dog,True,1,A"])
    (root / "audio" / "._3-1-A-0.wav").write_bytes(b"")
    assert len(esc50.tracks(Config(str(root)))) == 5
    assert "1 of 6 recordings are not in" in caplog.text
    assert "3-1-A-0.wav" in caplog.text


def test_a_file_name_with_a_path_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other.wav").write_bytes(b"RIFF")
    root = tree(tmp_path / "root", [*ROWS, "../../other.wav,3,0,dog,True,1,A"])
    assert len(esc50.tracks(Config(str(root)))) == 5


def test_no_recording_at_all_raises_a_user_error(tmp_path: Path) -> None:
    root = tree(tmp_path / "root", ["3-1-A-0.wav,3,0,dog,True,1,A"])
    assert "none of the 1 recordings" in refusal(root)


@pytest.mark.parametrize(
    "row",
    [
        "1-1-A-0.wav,0,0,dog,True,1,A",
        "1-1-A-0.wav,six,0,dog,True,1,A",
        "1-1-A-0.wav,1,0,,True,1,A",
        "1-1-A-0.wav,1,0,dog,yes,1,A",
        "1-1-A-0.wav,1,0,dog,True,,A",
    ],
)
def test_a_damaged_row_raises_a_user_error(tmp_path: Path, row: str) -> None:
    assert "1 rows with a fold that is not 1 to 5" in refusal(tree(tmp_path / "root", [*ROWS, row]))


def test_a_table_with_other_columns_raises_a_user_error(tmp_path: Path) -> None:
    root = tree(tmp_path / "root", header=HEADER.replace("src_file", "src_files"))
    assert "lacks the column 'src_file' (nearest: 'src_files')" in refusal(root)


def test_a_missing_table_raises_a_user_error(tmp_path: Path) -> None:
    assert "meta/esc50.csv" in refusal(tmp_path)
