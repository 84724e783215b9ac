from pathlib import Path

import numpy as np
import pytest

from chorale.datasets.errors import UserError
from chorale.datasets.tables.csv_table import find_table, read_columns, read_csv_header


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_columns(path, dataset="table", text=["name"], numbers=["x", "y"])
    return str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        "name,x,y\na,1,2\nb,3,4\n",
        "\ufeffname,x,y\r\na,1,2\r\nb,3,4\r\n",
        "y,other,name,x\n2,?,a,1\n4,?,b,3",
        ' name , x ,y\n "a", 1, 2\nb , 3,4 \n',
    ],
    ids=["plain", "excel", "other order, no last newline", "spaces"],
)
def test_columns_are_found_by_name(tmp_path: Path, content: str) -> None:
    table = read_columns(
        written(tmp_path, content), dataset="table", text=["name"], numbers=["x", "y"]
    )
    assert table.columns.tolist() == ["name", "x", "y"]
    assert table["name"].tolist() == ["a", "b"]
    assert table[["x", "y"]].to_numpy().tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_missing_numbers_are_nan_and_text_stays_text(tmp_path: Path) -> None:
    path = written(tmp_path, "name,x,y\nNone,NA,2\n007,,nan\nshort\n")
    table = read_columns(path, dataset="table", text=["name"], numbers=["x", "y"])
    assert table["name"].tolist() == ["None", "007", "short"]
    assert np.isnan(table[["x", "y"]].to_numpy()).tolist() == [
        [True, False],
        [True] * 2,
        [True] * 2,
    ]


def test_a_missing_column_error_lists_the_nearest_and_existing_columns(tmp_path: Path) -> None:
    text = refusal(written(tmp_path, "name,X1,why\na,1,2\n"))
    assert "lacks 2 columns: 'x', 'y'" in text
    assert "it has 3: 'name', 'X1', 'why'" in text


@pytest.mark.parametrize(("mark", "word"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_another_delimiter_is_recognised(tmp_path: Path, mark: str, word: str) -> None:
    text = refusal(written(tmp_path, mark.join(["name", "x", "y"]) + "\n"))
    assert f"separated by {word}: save it with commas" in text


def test_text_in_a_numeric_column_raises_with_column_and_row(tmp_path: Path) -> None:
    text = refusal(written(tmp_path, 'name,x,y\na,1,2\nb,3,"0,5"\n'))
    assert "'y' has '0,5' in row 2" in text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "has no header"),
        ("name,x,y,x\na,1,2,3\n", "two columns of the name 'x'"),
        (b"name,x,y\n\xff\xfe,1,2\n", "UTF-8"),
        ("name,x,y\na,1,2\n".encode("utf-16"), "UTF-8"),
        (b"\x00\x01\x02", "lacks 3 columns"),
        ('name,x,y\n"a,1,2\n', "cannot be read as a CSV"),
        ("name,x,y\na,1,2\nb, c,1,2\n", "Expected 3 fields in line 3, saw 4"),
        ("name,x,y\na, b,1,2\nc, d,1,2\n", "cannot be read as a CSV"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    ],
    ids=["empty", "twice", "latin", "utf-16", "binary", "open quote", "comma", "commas", "lfs"],
)
def test_a_file_that_is_no_csv_raises_a_user_error(
    tmp_path: Path, content: str | bytes, words: str
) -> None:
    assert words in refusal(written(tmp_path, content))


def test_headers_of_several_lines_are_returned(tmp_path: Path) -> None:
    path = written(tmp_path, ",a,a\n, b ,c\n1,2,3\n")
    assert read_csv_header(path, dataset="fma", n_lines=2) == [["", "a", "a"], ["", "b", "c"]]


def test_a_table_is_found_below_the_root_or_by_its_path(tmp_path: Path) -> None:
    path = written(tmp_path, "name\n")
    assert find_table(str(tmp_path), ["no.csv", "t.csv"], dataset="x") == path
    assert find_table(str(path), ["no.csv"], dataset="x") == path
    with pytest.raises(UserError, match=r"no a\.csv or b\.csv in"):
        find_table(str(tmp_path), ["a.csv", "b.csv"], dataset="x")
