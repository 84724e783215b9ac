"""The labels in a manifest's cells: one of a track, or several of a multi-label table.

`manifest` reads the cells of all rows here, before rows of one file are merged.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from chorale.datasets.errors import join_first
from chorale.datasets.label_sets import LABEL_SEPARATOR, is_multi_label, join_labels, labels_of
from chorale.datasets.tables.manifest_rows import ManifestRow
from chorale.datasets.tables.manifest_values import at_lines
from chorale.datasets.tables.unknown_labels import unknown_problems

MULTI_LABEL_COLUMN = "labels"
"""A column of this name, in any case, has several labels in a cell where a `;` is in one."""

_SEVERAL = ",;|"
"""What separates several labels in one cell."""


@dataclass(frozen=True)
class LabelRules:
    """How cells are read: which characters separate labels, and which are refused.

    `merge_rows`: the rows of one file are merged, and its labels are those of all of them.
    """

    separators: str = ""
    refused: str = _SEVERAL
    merge_rows: bool = False


def label_rules(
    rows: Sequence[ManifestRow], *, column: str, multi_label: bool, commas: bool
) -> LabelRules:
    """The rules for a manifest.

    Args:
        rows: all its rows.
        column: the name of the column of labels.
        multi_label: whether the user declared it multi-label.
        commas: whether a comma is part of a label.
    """
    if multi_label:
        return LabelRules(";|" if commas else _SEVERAL, "", merge_rows=True)
    is_plural = column.lower() == MULTI_LABEL_COLUMN
    separators = ";" if is_plural and is_multi_label(row.label for row in rows) else ""
    refused = "" if commas else "".join(c for c in _SEVERAL if c not in separators)
    return LabelRules(separators, refused)


def read_unknown(rows: Sequence[ManifestRow], rules: LabelRules) -> list[str]:
    """Replaces each row's unknown labels by their text in a track table; returns the problems."""
    for row in rows:
        row.unknown = join_labels(re.split(f"[{re.escape(rules.separators)}]", row.unknown))
    return [
        f"{problem}; or type --dataset.columns.unknown none"
        for problem in unknown_problems((f"line {r.line}", r.label, r.unknown) for r in rows)
    ]


def read_labels(rows: Sequence[ManifestRow], rules: LabelRules) -> tuple[list[str], list[str]]:
    """Replaces each row's label by its text in a track table; returns problems and notes."""
    problems = []
    several = [row for row in rows if _has_any(row.label, rules.refused)]
    if several:
        some = join_first(f"'{row.label}' (line {row.line})" for row in several)
        problems.append(
            f"{len(several)} cells have several labels: {some}; if each is a label of its own, "
            f"type {_MULTI_LABEL}, or, if such a cell is one label, type "
            f"--dataset.commas_in_labels true"
        )
    notes: list[str] = []
    empty: list[int] = []
    renamed: list[str] = []
    for row in rows:
        if not rules.separators:
            if LABEL_SEPARATOR in row.label:
                renamed.append(row.label)
                row.label = row.label.replace(LABEL_SEPARATOR, ",")
            continue
        names = re.split(f"[{re.escape(rules.separators)}]", row.label)
        if row.label and not all(name.strip() for name in names):
            empty.append(row.line)
        row.label = join_labels(names)
    if empty:
        problems.append(at_lines(empty, "a label between two separators must not be empty"))
    if renamed:
        named = join_first(f"'{name}'" for name in dict.fromkeys(renamed))
        notes.append(f"a semicolon in a label is replaced by a comma: {named}")
    return problems, notes


def several_rows_problems(rows: Sequence[ManifestRow]) -> list[str]:
    """Files whose rows have different labels, where rows are not merged."""
    of_file: dict[str, dict[str, ManifestRow]] = {}
    for row in rows:
        of_file.setdefault(row.name, {}).setdefault(row.label, row)
    double = [
        f"'{name}' is " + " and ".join(f"'{label}' (line {row.line})" for label, row in of.items())
        for name, of in of_file.items()
        if len(of) > 1
    ]
    if not double:
        return []
    count = "1 file has" if len(double) == 1 else f"{len(double)} files have"
    return [
        f"{count} rows with different labels: {join_first(double)}; if a file has all of its "
        f"rows' labels, type {_MULTI_LABEL}, otherwise keep one row for each file"
    ]


def multi_label_note(rows: Sequence[ManifestRow], rules: LabelRules) -> list[str]:
    """How many tracks have several labels, where cells or rows may have them."""
    if not rules.separators:
        return []
    names = {name for row in rows for name in labels_of(row.label)}
    n_several = sum(LABEL_SEPARATOR in row.label for row in rows)
    if n_unknown := sum(bool(row.unknown) for row in rows):
        return [f"{n_unknown} of {len(rows)} tracks have unknown labels: it is multi-label"]
    if not n_several:
        return ["no track has several labels, so that they are classes"]
    n_tracks = "1 track has" if n_several == 1 else f"{n_several} of {len(rows)} tracks have"
    return [f"{n_tracks} several labels, of {len(names)} in all: it is multi-label"]


_MULTI_LABEL = "--dataset.multi_label true"


def _has_any(text: str, characters: str) -> bool:
    return any(character in text for character in characters)
