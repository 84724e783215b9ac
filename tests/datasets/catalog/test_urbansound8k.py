from collections.abc import Iterable
from pathlib import Path

import pytest

from chorale.datasets.catalog import urbansound8k
from chorale.datasets.catalog.urbansound8k import Config
from chorale.datasets.errors import UserError

HEADER = "slice_file_name,fsID,start,end,salience,fold,classID,class"
ROWS = (
    "100032-3-0-0.wav,100032,0.0,0.317551,1,5,3,dog_bark",
    "100263-2-0-117.wav,100263,58.5,62.5,1,10,2,children_playing",
    "100263-2-0-121.wav,100263,60.5,64.5,1,10,2,children_playing",
    "99812-1-0-0.wav,99812,159.5,163.5,2,7,1,car_horn",
)


def tree(root: Path, rows: Iterable[str] = ROWS, *, header: str = HEADER) -> Path:
    (root / "metadata").mkdir(parents=True)
    (root / "metadata" / "UrbanSound8K.csv").write_text("\n".join([header, *rows, ""]))
    for row in ROWS:
        cells = row.split(",")
        path = root / "audio" / f"fold{cells[5]}" / cells[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"RIFF")
    return root


def refusal(root: Path) -> str:
    with pytest.raises(UserError) as caught:
        urbansound8k.tracks(Config(str(root)))
    return str(caught.value)


@pytest.mark.parametrize("below", ["", "UrbanSound8K"])
def test_a_row_has_class_official_fold_and_recording(tmp_path: Path, below: str) -> None:
    tree(tmp_path / below if below else tmp_path / "root")
    table = urbansound8k.tracks(Config(str(tmp_path if below else tmp_path / "root")))
    names = ["100032-3-0-0", "100263-2-0-117", "100263-2-0-121", "99812-1-0-0"]
    assert table["track_id"].tolist() == names
    assert table["fold"].tolist() == [4, 9, 9, 6]
    assert table["label"].tolist() == ["dog_bark", *["children_playing"] * 2, "car_horn"]
    assert table["group"].tolist() == [f"recording-{n}" for n in (100032, 100263, 100263, 99812)]
    assert table["split"].isna().all()
    assert all(Path(path).is_file() for path in table["path"])


def test_the_copy_with_folds_and_table_side_by_side_is_read(tmp_path: Path) -> None:
    root = tree(tmp_path / "root")
    for path in (*(root / "audio").iterdir(), root / "metadata" / "UrbanSound8K.csv"):
        path.rename(root / path.name)
    assert urbansound8k.tracks(Config(str(root)))["fold"].tolist() == [4, 9, 9, 6]


def test_missing_excerpts_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tree(tmp_path / "root", [*ROWS, "1-0-0-0.wav,1,0,4,1,1,0,air_conditioner"])
    assert len(urbansound8k.tracks(Config(str(root)))) == 4
    assert "1 of 5 excerpts are not in" in caplog.text
    assert "fold1/1-0-0-0.wav" in caplog.text


def test_no_excerpt_at_all_raises_a_user_error(tmp_path: Path) -> None:
    rows = ["1-0-0-0.wav,1,0,4,1,1,0,air_conditioner"]
    assert "none of the 1 excerpts" in refusal(tree(tmp_path / "root", rows))


@pytest.mark.parametrize(
    "row",
    [
        "1-0-0-0.wav,1,0,4,1,0,0,air_conditioner",
        "1-0-0-0.wav,1,0,4,1,11,0,air_conditioner",
        "1-0-0-0.wav,1,0,4,1,1,0,air conditioner",
        "1-0-0-0.wav,,0,4,1,1,0,air_conditioner",
    ],
)
def test_a_damaged_row_raises_a_user_error(tmp_path: Path, row: str) -> None:
    text = refusal(tree(tmp_path / "root", [*ROWS, row]))
    assert "has 1 rows with a fold that is not 1 to 10" in text
    assert "'1-0-0-0.wav'" in text


def test_another_table_raises_a_user_error(tmp_path: Path) -> None:
    root = tree(tmp_path / "root", header=HEADER.replace("fsID", "fs_ID"))
    assert "lacks the column 'fsID' (nearest: 'fs_ID')" in refusal(root)
    assert "metadata/UrbanSound8K.csv" in refusal(tmp_path)


def test_there_are_ten_classes_of_8732_excerpts() -> None:
    assert len(set(urbansound8k.INFO.labels)) == 10
    assert urbansound8k.INFO.n_tracks == 7 * 1000 + 429 + 374 + 929
