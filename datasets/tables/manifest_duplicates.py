"""Rows of a manifest that are about one file: equal ones are merged, others refused.

In a multi-label manifest rows may differ in their labels, of which the file has all.
"""

from collections.abc import Sequence

from chorale.datasets.errors import join_first
from chorale.datasets.label_sets import join_labels, labels_of
from chorale.datasets.tables.manifest_rows import ManifestRow
from chorale.datasets.tables.manifest_values import at_lines
from chorale.datasets.tables.unknown_labels import merged_unknown

SEGMENT_COLUMNS = ("start", "end", "onset", "offset", "begin", "begin time (s)", "end time (s)")
"""Columns that say which part of a file a row is about."""


def has_segments(header: Sequence[str]) -> list[str]:
    """The columns that say which part of a file a row is about."""
    return [name for name in header if name.lower() in SEGMENT_COLUMNS]


def one_row_per_file(
    rows: Sequence[ManifestRow], *, segments: Sequence[str], merge_labels: bool
) -> tuple[list[ManifestRow], list[str], list[str]]:
    """Merges the equal rows of a file: the rows kept, a note about it, and problems.

    Args:
        rows: all rows, with their values.
        segments: columns that make the rows of one file different parts of it.
        merge_labels: whether rows that differ in labels or segments are merged to one track with
            the labels of all of them; otherwise different labels are a problem of their own.
    """
    kept: dict[str, ManifestRow] = {}
    merged: list[ManifestRow] = []
    differing: list[str] = []
    parts: list[ManifestRow] = []
    for row in rows:
        first = kept.setdefault(row.name, row)
        if first is row or not (merge_labels or first.label == row.label):
            continue
        unequal = [
            role for role in ("group", "split", "fold", "time") if not _equal(first, row, role)
        ]
        if unequal:
            differing.append(
                f"'{row.name}' differs in its {' and '.join(unequal)} (lines {first.line} and "
                f"{row.line})"
            )
        elif segments and first.others != row.others and not merge_labels:
            parts.append(row)
        else:
            merged.append(row)
            if merge_labels:
                first.label = join_labels([*labels_of(first.label), *labels_of(row.label)])
                first.unknown = merged_unknown([first.unknown, row.unknown], first.label)
    problems = []
    if differing:
        problems.append(f"rows of one file differ: {join_first(differing)}; keep one row of each")
    if parts:
        lines = [row.line for row in parts]
        text = (
            f"further parts of a file ({', '.join(segments)}), which are not supported yet: cut "
            f"them into files of their own, keep one row of each file, or type "
            f"--dataset.multi_label true, if a file has the labels of all its parts"
        )
        problems.append(at_lines(lines, text))
    note = []
    if merged and merge_labels:
        names = [f"'{name}'" for name in dict.fromkeys(row.name for row in merged)]
        files = "1 file has" if len(names) == 1 else f"{len(names)} files have"
        of_parts = f", also of different parts ({', '.join(segments)})" if segments else ""
        note.append(
            f"{files} several rows{of_parts}, which are one track with the labels of all of them: "
            f"{join_first(names)}"
        )
    elif merged:
        lines_text = join_first(f"line {row.line} ('{row.cells['path']}')" for row in merged)
        count = "1 row repeats" if len(merged) == 1 else f"{len(merged)} rows repeat"
        note.append(f"{count} an earlier row of the same file, which is read once: {lines_text}")
    return list(kept.values()), note, problems


def _equal(one: ManifestRow, other: ManifestRow, role: str) -> bool:
    if role == "group":
        return one.cells.get("group", "") == other.cells.get("group", "")
    return bool(getattr(one, role) == getattr(other, role))
