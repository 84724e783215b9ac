"""The epochs of finalists where time is limited: all fit, the first one is cut, or a later one."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chorale.search.ledger.ledger import Row
from chorale.search.sweep.time_shares import finalist_epochs

SECONDS = {3: 10.0, 1: 30.0, 2: 10.0}
"""Of the trials, best first. Their folds take 33, 99 and 33 s: three rounds of two."""


def _context(tmp_path: Path, left_s: float) -> Any:
    facts = {n: {"elapsed_s": seconds, "n_epochs": 40} for n, seconds in SECONDS.items()}
    return SimpleNamespace(
        paths=SimpleNamespace(finalist_epochs_json=tmp_path / "epochs.json"),
        sweep=SimpleNamespace(budget=SimpleNamespace(n_epochs=40)),
        schedule=SimpleNamespace(is_limited=True, left_s=lambda: left_s),
        prepared=SimpleNamespace(split=SimpleNamespace(n_folds=5)),
        pool=SimpleNamespace(trials_at_once=2),
        rows=lambda _: {str(n): Row(str(n), "COMPLETE", "", of) for n, of in facts.items()},
    )


@pytest.mark.parametrize(
    ("left_s", "expected"),
    [
        (170, {3: 40, 1: 40, 2: 40}),
        (93, {3: 40, 1: 24, 2: 40}),  # 60 of 99 s for trial 1, which is better than trial 2
        (70, {3: 40, 1: 40, 2: 40}),  # 37 of 99 s would be too few: it is not started
        (60, {3: 40, 1: 40, 2: 32}),  # but 27 of 33 s are enough for trial 2
        (20, {3: 24, 1: 40, 2: 40}),  # the first one has all of the time
        (5, {3: 40, 1: 40, 2: 40}),
    ],
)
def test_the_best_finalist_that_does_not_fit_gets_fewer_epochs(
    tmp_path: Path, left_s: float, expected: dict[int, int]
) -> None:
    found = finalist_epochs(_context(tmp_path, left_s), list(SECONDS))
    assert found == expected
    assert finalist_epochs(_context(tmp_path, 1000.0), list(SECONDS)) == expected  # resumed


def test_without_finalists_there_are_no_epochs(tmp_path: Path) -> None:
    assert finalist_epochs(_context(tmp_path, 100.0), []) == {}
