"""Checks of the unknown labels of tracks, in a column `unknown` of a table or a manifest.

`datasets.label_sets` says what they mean. Their names must be labels of some track, so that a
typing error does not make a label known to be absent.
"""

import difflib
from collections.abc import Iterable, Sequence

from chorale.datasets.errors import join_first
from chorale.datasets.label_sets import labels_of, text_of


def unknown_problems(rows: Iterable[tuple[str, str, str]]) -> list[str]:
    """What is wrong with unknown labels, one text for each kind; empty where nothing is.

    Args:
        rows: where a row is ("line 3"), and the texts of its labels and of its unknown ones.
    """
    listed = list(rows)
    names = {name for _, text, _ in listed for name in labels_of(text)}
    both: list[str] = []
    unlisted: dict[str, str] = {}
    silent: list[str] = []
    for where, text, unknown in listed:
        present, hidden = labels_of(text), labels_of(unknown)
        both += [f"'{name}' ({where})" for name in hidden if name in present]
        unlisted |= {name: where for name in hidden if name not in names and name not in unlisted}
        if not present and names <= {*hidden}:
            silent.append(where)
    problems = []
    if both:
        problems.append(f"a label is both present and unknown: {join_first(both)}; keep one")
    if unlisted:
        named = join_first(_with_hint(name, where, names) for name, where in unlisted.items())
        problems.append(
            f"unknown names what is no label of any row: {named}; choose from: "
            f"{join_first(sorted(names))}"
        )
    if silent:
        problems.append(
            f"{_rows(len(silent))} no label, and none is known to be absent: {join_first(silent)}; "
            f"remove {'it' if len(silent) == 1 else 'them'}, or name fewer labels in unknown"
        )
    return problems


def merged_unknown(texts: Sequence[str], present: str) -> str:
    """The unknown labels of a track with several rows: those that all rows name, and none has."""
    common = set(labels_of(texts[0])).intersection(*(labels_of(text) for text in texts[1:]))
    return text_of(common - {*labels_of(present)})


def _with_hint(name: str, where: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, sorted(names), n=1, cutoff=0.5)
    return f"'{name}' ({where}{f'; did you mean {near[0]!r}?' if near else ''})"


def _rows(n: int) -> str:
    return "1 row has" if n == 1 else f"{n} rows have"
