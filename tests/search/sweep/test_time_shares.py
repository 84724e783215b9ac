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
        (120, {3: 40, 2: 40, 1: 21}),  # 54 of 99 s are left for trial 1, after the others
        (90, {3: 40, 1: 40, 2: 40}),  # 24 of 99 s would be too few: it is not started
        (20, {1: 40, 2: 40, 3: 24}),  # the first one has all of the time
        (5, {3: 40, 1: 40, 2: 40}),
    ],
)
def test_the_first_finalist_that_does_not_fit_gets_fewer_epochs(
    tmp_path: Path, left_s: float, expected: dict[int, int]
) -> None:
    found = finalist_epochs(_context(tmp_path, left_s), list(SECONDS))
    assert found == expected
    first = 3 if left_s == 20 else next(iter(expected))
    assert next(iter(found)) == first
    assert finalist_epochs(_context(tmp_path, 1000.0), list(SECONDS)) == expected  # resumed


def test_without_finalists_there_are_no_epochs(tmp_path: Path) -> None:
    assert finalist_epochs(_context(tmp_path, 100.0), []) == {}
