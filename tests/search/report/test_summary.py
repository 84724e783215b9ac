"""The summary on the terminal: on a narrow one the test scores stay whole, others are left out."""

import io
from typing import Any

import pytest
from rich.console import Console

from chorale.search.report.summary import COLUMNS, print_summary

LONG = "logistic_regression (encoder-birdnet)"


def _scores(members: list[int | str] | None = None) -> dict[str, Any]:
    test = {"accuracy": 0.947, "ci95": [0.819, 0.994], "macro_f1": 0.944, "n": 38, "few_groups": 0}
    one: dict[str, Any] = {"test": test, "out_of_fold": {"accuracy": 0.886}}
    if members is not None:
        one |= {"validation": {"accuracy": 0.966}, "members": members}
    return one


def _printed(width: int) -> str:
    names: list[int | str] = [53, 35, 39, 43, 40, 42, LONG]
    ensembles = {"fusion": _scores(names), "best_single": _scores([53])}
    report: dict[str, Any] = {
        "study": "s",
        "ensembles": ensembles,
        "ensemble": {"kind": "fusion", **ensembles["fusion"]},
        "best_single": ensembles["best_single"],
        "baselines": {LONG: _scores(), "svm": _scores()},
        "gains": {LONG: {"difference": 0.026, "ci95": [-0.07, 0.12]}},
        "test_looks": 1,
    }
    console = Console(width=width, file=io.StringIO())
    print_summary(report, console, folder="nowhere")
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


@pytest.mark.parametrize("width", [72, 80, 100, 120, 160])
def test_no_cell_is_cut_and_the_test_score_is_always_there(width: int) -> None:
    table = _printed(width).partition("Test accuracy")[0]
    assert "…" not in table
    for name in COLUMNS:
        assert name in table, "shown, or named as left out"
    assert f"{LONG}   94.7%   81.9% - 99.4%" in table
    assert max(len(line.rstrip()) for line in table.splitlines()) <= width


def test_on_a_wide_terminal_all_columns_are_shown_and_members_counted() -> None:
    table = _printed(180)
    assert all(name in table for name in COLUMNS)
    assert "53, 35, 39, 43 and 2 more + 1 baseline" in table
    assert "+2.6 (-7 to +12)" in table


def test_even_on_the_narrowest_terminal_there_is_the_test_column() -> None:
    assert "test" in _printed(30)
