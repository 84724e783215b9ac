from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from chorale.datasets.catalog import table
from chorale.datasets.catalog.table import Config
from chorale.datasets.errors import UserError

ROWS = pd.DataFrame(
    {
        "song": ["b", "a", "a", "c"],
        "genre": ["rock", "jazz", "jazz", "rock"],
        "artist": ["x", "y", "y", ""],
        "part": ["train", "test", "test", "valid"],
        "tempo": [120.0, 90.5, 91.0, 100.0],
        "loud": [True, False, False, True],
        "year": [1990, 1950, 1950, 2001],
    }
)
NAMED: dict[str, Any] = {"label": "genre", "id": "song", "group": "artist", "split": "part"}
KINDS = pytest.mark.parametrize("kind", ["csv", "parquet"])


def saved(folder: Path, rows: pd.DataFrame = ROWS, kind: str = "csv", **options: Any) -> str:
    path = folder / f"t.{kind}"
    if kind == "csv":
        rows.to_csv(path, **{"index": False, **options})
    else:
        pytest.importorskip("pyarrow")
        rows.to_parquet(path, **options)
    return str(path)


def refusal(config: Config) -> str:
    with pytest.raises(UserError) as caught:
        table.tracks(config)
    return str(caught.value)


@KINDS
def test_named_columns_make_the_track_table(tmp_path: Path, kind: str) -> None:
    config = Config(saved(tmp_path, kind=kind), **NAMED)
    tracks = table.tracks(config)
    assert tracks["track_id"].tolist() == ["a", "b", "c"]
    assert tracks["label"].tolist() == ["jazz", "rock", "rock"]
    assert tracks["group"].tolist() == ["y", "x", "c"]
    assert tracks["split"].tolist() == ["test", "train", "valid"]
    assert tracks["path"].isna().all()


@KINDS
def test_every_other_column_is_a_feature_in_the_files_order(tmp_path: Path, kind: str) -> None:
    config = Config(saved(tmp_path, kind=kind), **NAMED, drop=("year",))
    frame = table.features(config)["table"]
    assert frame.columns.tolist() == ["tempo", "loud"]
    assert frame.index.tolist() == ["a", "a", "b", "c"]
    assert frame.index.name == "track_id"
    assert frame.dtypes.tolist() == [np.float64] * 2
    assert frame.to_numpy().tolist() == [[90.5, 0], [91, 0], [120, 1], [100, 1]]


def test_without_an_id_each_row_is_a_track_of_its_own(tmp_path: Path) -> None:
    config = Config(saved(tmp_path), label="genre", drop=("song", "artist", "part"))
    tracks = table.tracks(config)
    assert tracks["track_id"].tolist() == [f"row-{row:07d}" for row in (1, 2, 3, 4)]
    assert tracks["group"].tolist() == tracks["track_id"].tolist()
    assert tracks["split"].isna().all()
    assert table.features(config)["table"]["tempo"].tolist() == ROWS["tempo"].tolist()


@KINDS
def test_non_numeric_columns_are_listed_with_what_to_do(tmp_path: Path, kind: str) -> None:
    text = refusal(Config(saved(tmp_path, kind=kind), label="genre"))
    assert "'song' has 'b' in row 1, 'artist' has 'x' in row 1, 'part' has 'train' in row 1" in text
    assert "'tempo'" not in text
    assert "--dataset.drop" in text


@KINDS
@pytest.mark.parametrize("gap", ["number", "label"])
def test_incomplete_rows_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str, gap: str
) -> None:
    rows = ROWS.copy()
    rows.loc[3, "tempo" if gap == "number" else "genre"] = None
    config = Config(saved(tmp_path, rows, kind), **NAMED, max_nan_share=0.3)
    assert table.tracks(config)["track_id"].tolist() == ["a", "b"]
    assert "left out 1 of 4 rows: no label, or a number missing" in caplog.text
    caplog.clear()
    assert table.features(config)["table"].index.tolist() == ["a", "a", "b"]
    assert not caplog.text


def test_too_many_missing_values_raise_with_the_worst_columns(tmp_path: Path) -> None:
    rows = ROWS.assign(tempo=[1.0, np.nan, np.nan, 2.0], year=[1.0, 2.0, 3.0, np.nan])
    text = refusal(Config(saved(tmp_path, rows), **NAMED))
    assert "3 of the 4 rows" in text
    assert "at most 10%" in text
    assert "'tempo' (50%), 'year' (25%)" in text


@KINDS
def test_infinite_numbers_raise(tmp_path: Path, kind: str) -> None:
    rows = ROWS.assign(tempo=[1.0, 2.0, -np.inf, 3.0])
    text = refusal(Config(saved(tmp_path, rows, kind), **NAMED))
    assert "infinite numbers: 'tempo' in row 3" in text


def test_a_saved_row_number_is_no_feature(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = Config(saved(tmp_path, index=True), **NAMED)
    assert table.features(config)["table"].columns.tolist() == ["tempo", "loud", "year"]
    table.tracks(config)
    assert "left out a column without a name" in caplog.text


@pytest.mark.parametrize("named", [True, False])
def test_a_parquet_index_is_used_only_if_it_has_a_role(tmp_path: Path, named: bool) -> None:
    rows = ROWS.set_index("song")
    options = NAMED if named else {name: value for name, value in NAMED.items() if name != "id"}
    config = Config(saved(tmp_path, rows, "parquet"), **options)
    first = table.tracks(config)["track_id"].iloc[0]
    assert first == ("a" if named else "row-0000001")
    assert table.features(config)["table"].columns.tolist() == ["tempo", "loud", "year"]


def test_integer_labels_are_the_same_from_csv_and_parquet(tmp_path: Path) -> None:
    rows = ROWS.assign(genre=[1, 0, 0, 1], artist=[7.0, 8.0, 8.0, np.nan])
    made = [table.tracks(Config(saved(tmp_path, rows, k), **NAMED)) for k in ("csv", "parquet")]
    assert made[1]["label"].tolist() == ["0", "1", "1"]
    assert made[1]["group"].tolist() == ["8", "7", "c"]
    assert made[0]["label"].tolist() == made[1]["label"].tolist()


def test_numbers_as_text_in_parquet_are_listed(tmp_path: Path) -> None:
    rows = ROWS.assign(year=ROWS["year"].astype("str"))
    assert "numbers as text in the columns 'year'" in refusal(
        Config(saved(tmp_path, rows, "parquet"), **NAMED)
    )


@KINDS
def test_a_missing_column_raises_with_the_option_that_names_it(tmp_path: Path, kind: str) -> None:
    text = refusal(Config(saved(tmp_path, kind=kind), label="genres"))
    assert "lacks the column 'genres' (nearest: 'genre')" in text
    assert "--dataset.label" in text


@pytest.mark.parametrize(
    ("column", "cells", "words"),
    [
        ("genre", ["rock", "jazz", "rock", "rock"], "differ in their label: a"),
        ("artist", ["x", "y", "z", "w"], "differ in their group: a"),
        ("part", ["train", "test", "valid", "valid"], "differ in their split: a"),
        ("part", ["training", "test", "test", "valid"], "has 'training'; each row must have one"),
        ("part", ["", "test", "test", "valid"], "has ''; each row must have one"),
        ("song", ["b", "a", "a", ""], "1 rows of"),
    ],
)
def test_rows_of_one_track_that_differ_raise(
    tmp_path: Path, column: str, cells: list[str], words: str
) -> None:
    assert words in refusal(Config(saved(tmp_path, ROWS.assign(**{column: cells})), **NAMED))


def test_a_row_with_too_many_cells_raises(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("label,x\nrock,1\njazz,2,3\n")
    assert "Expected 2 fields in line 3, saw 3" in refusal(Config(str(path)))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("label,x\n", "no rows below its header"),
        ("label\nrock\n", "has no feature"),
        ("label;x\nrock;1\n", "separated by semicolons"),
        ("label,x,x\nrock,1,2\n", "two columns of the name 'x'"),
        ("label,x,y\n,1,\n", "1 of the 1 rows"),
        ("PAR1 and nothing more", "cannot be read as a Parquet file"),
    ],
)
def test_a_file_that_is_no_table_raises(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(content)
    assert words in refusal(Config(str(path)))


@pytest.mark.parametrize("place", ["", "missing.csv"])
def test_a_missing_file_raises_a_user_error(tmp_path: Path, place: str) -> None:
    assert "--dataset.root FILE" in refusal(Config(str(tmp_path / place)))


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path, kind="parquet")

    def absent(*args: object, **options: object) -> None:
        raise ImportError("no pyarrow")

    monkeypatch.setattr(pd, "read_parquet", absent)
    assert "pip install pyarrow" in refusal(Config(path, **NAMED))


def test_one_column_with_two_roles_raises() -> None:
    with pytest.raises(ValidationError, match="must name different columns"):
        Config("t.csv", label="genre", group="genre")


@KINDS
def test_folds_and_times_are_read(tmp_path: Path, kind: str) -> None:
    rows = ROWS.assign(
        part=["0", "2", "2", ""], year=["2024-05-31T06:30:00", "1717137000.5", "1717137000.5", ""]
    )
    roles: dict[str, Any] = {"label": "genre", "id": "song", "fold": "part", "time": "year"}
    config = Config(saved(tmp_path, rows, kind), **roles, drop=("artist",))
    tracks = table.tracks(config)
    assert tracks["fold"].tolist()[:2] == [2, 0]
    assert tracks["fold"].isna().tolist() == [False, False, True]
    assert tracks["time"].tolist()[:2] == [1717137000.5, 1717137000.0]
    assert tracks["time"].isna().tolist() == [False, False, True]
    assert table.features(config)["table"].columns.tolist() == ["tempo", "loud"]


def test_folds_and_times_that_cannot_be_read_are_listed(tmp_path: Path) -> None:
    rows = ROWS.assign(part=["one", "2", "2", "-1"], year=["May", "1", "1", "nan"])
    path = saved(tmp_path, rows)
    text = refusal(Config(path, label="genre", fold="part", drop=("artist", "song", "year")))
    assert "'part'" in text
    assert "2 cells that cannot be read: row 1: 'one'" in text
    assert "row 4: '-1'" in text
    text = refusal(Config(path, label="genre", time="year", drop=("artist", "song", "part")))
    assert "row 1: 'May' is neither ISO 8601" in text


@KINDS
def test_semicolons_in_the_label_column_make_a_table_multi_label(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    rows = pd.DataFrame(
        {
            "song": ["b", "a", "a", "c"],
            "labels": ["rock; live", "jazz", "jazz;jazz ", "live;rock;"],
            "x": [1.0, 2.0, 3.0, 4.0],
        }
    )
    config = Config(saved(tmp_path, rows, kind), label="labels", id="song")
    assert table.tracks(config)["label"].tolist() == ["jazz", "live;rock", "live;rock"]
    assert "3 of 4 rows have several labels, separated by semicolons" in caplog.text
    assert len(table.features(config)["table"]) == 4


def test_commas_in_a_column_labels_are_one_label_and_this_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = pd.DataFrame({"labels": ["a,b", "a", "b", "a"], "x": [1, 2, 3, 4]})
    assert table.tracks(Config(saved(tmp_path, rows), label="labels"))["label"][0] == "a,b"
    assert "1 cells of 'labels' such as 'a,b' are one label each" in caplog.text


UNKNOWN = pd.DataFrame(
    {"label": ["a;b", "b", "", "a"], "hidden": ["", "a", "b", "b"], "x": [1.0, 2.0, 3.0, 4.0]}
)


@KINDS
def test_a_column_of_unknown_labels_makes_a_table_multi_label(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = Config(saved(tmp_path, UNKNOWN, kind), unknown="hidden")
    tracks = table.tracks(config)
    assert tracks["label"].tolist() == ["a;b", "b", "", "a"]
    assert tracks["unknown"].tolist() == ["", "a", "b", "b"]
    assert "3 of 4 rows have unknown labels, so that it is multi-label" in caplog.text
    assert table.features(config)["table"].columns.tolist() == ["x"]


def test_bad_unknown_labels_are_listed_with_their_rows(tmp_path: Path) -> None:
    rows = UNKNOWN.assign(hidden=["a", "a", "a;b", "c"])
    text = refusal(Config(saved(tmp_path, rows), unknown="hidden"))
    assert "a label is both present and unknown: 'a' (row 1)" in text
    assert "no label of any row: 'c' (row 4)" in text
    assert "1 row has no label, and none is known to be absent: row 3" in text
