"""The splits in a manifest's cells, and the problems of splits and folds."""

import difflib
import itertools
from collections.abc import Collection, Iterable, Sequence

from chorale.datasets.base import SPLIT_NAMES, SPLITS
from chorale.datasets.errors import MAX_LISTED, join_first


def at_lines(numbers: Iterable[int], text: str) -> str:
    """A problem with the lines that have it: "line 3: ...", "lines 3, 4: ..."."""
    every = sorted(numbers)
    return f"line{'s' if len(every) > 1 else ''} {join_first(map(str, every))}: {text}"


def read_split(cell: str) -> str | None:
    """The split that a cell names; None if it is unknown."""
    return SPLIT_NAMES.get(cell.lower())


def bad_split(cell: str) -> str:
    """The problem of a cell that names no split."""
    near = difflib.get_close_matches(cell, SPLIT_NAMES, n=1, cutoff=0.4)
    hint = f"did you mean '{SPLIT_NAMES[near[0]]}'? " if near else ""
    return f"split '{cell}' is unknown; {hint}choose from: {', '.join(SPLITS)}"


def fold_problems(folds: Sequence[int]) -> list[str]:
    """What keeps numbers from being folds: they must be all of 0, 1, ... or all of 1, 2, ..."""
    there = set(folds)
    if not there:
        return []
    advice = "or type --dataset.columns.fold none to draw folds instead"
    if len(there) == 1:
        return [f"every row is in the one fold {folds[0]}; give two folds or more, {advice}"]
    missing = fold_gaps(there)
    if not missing:
        return []
    got = join_first(map(str, sorted(there)))
    return [f"the folds {got} have gaps ({missing} missing): number them from 0 or 1 on, {advice}"]


def fold_gaps(folds: Collection[int]) -> str:
    """The numbers that are missing from 0 or 1 to the largest, as text; empty if there are none."""
    first = 0 if 0 in folds else 1
    n_missing = max(folds) + 1 - first - len(set(folds))
    if not n_missing:
        return ""
    some = (n for n in range(first, max(folds)) if n not in folds)
    shown = ", ".join(str(n) for n in itertools.islice(some, MAX_LISTED))
    return shown + (f" and {n_missing - MAX_LISTED} more" if n_missing > MAX_LISTED else "")
