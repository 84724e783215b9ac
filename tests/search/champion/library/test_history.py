"""Listening history: reading the CSV, and its error messages."""

from pathlib import Path

import pytest

from chorale.datasets.errors import UserError
from chorale.search.champion.library.history import HALF_LIFE_DAYS, read_history


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "h.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_are_weighted_by_plays(tmp_path: Path) -> None:
    text = "\ufeffPath, plays\na.wav,3\nb.wav,\nc.wav,0\n"
    plays = read_history(written(tmp_path, text))
    assert [(p.line, p.path, p.weight) for p in plays] == [(2, "a.wav", 3), (3, "b.wav", 1)]


def test_weights_decay_with_the_time_before_the_latest_row(tmp_path: Path) -> None:
    text = (
        "title,artist,timestamp\nx,A,2026-07-01T00:00:00\ny,B,2026-06-30T22:00:00-02:00\n"
        f"z,C,{1782864000 - HALF_LIFE_DAYS * 86400}\nw,D,\n"
    )
    plays = read_history(written(tmp_path, text))
    assert [p.weight for p in plays] == pytest.approx([1, 1, 0.5, 1])
    assert plays[0].display_name == "A - x"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "is empty: expected a row"),
        ("path\n", "is empty: expected a row"),
        ("path,plays\nx,0\n", "is empty: expected a row"),
        ("path,plas\nx,1\n", r"unknown columns: 'plas' \(nearest: plays\)"),
        ("artist\nx\n", "neither the column path nor title"),
        ("path,path\nx,y\n", "has columns twice: path"),
        ("path,plays\nx,many\ny,-1\n", "line 2: plays should be .* got 'many'\n  line 3"),
        ("path,plays\nx,nan\n", "got 'nan'"),
        ("path,timestamp\nx,yesterday\n", "like 2026-01-31T18:00:00 or seconds"),
        ("path,title\n,\n", "line 2: expected a path, or a title"),
    ],
)
def test_all_errors_are_listed(tmp_path: Path, text: str, error: str) -> None:
    with pytest.raises(UserError, match=error):
        read_history(written(tmp_path, text))


def test_a_file_that_is_not_text_or_missing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_bytes(b"path\n\xff\xfe\n")
    with pytest.raises(UserError, match="is not a CSV file in UTF-8"):
        read_history(tmp_path / "b.csv")
    with pytest.raises(UserError, match="cannot be read"):
        read_history(tmp_path / "none.csv")
