"""The rows of a manifest: their files, what is wrong with them together, and equal ones merged."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chorale.datasets.errors import join_first
from chorale.datasets.tables.manifest_paths import FileFinder, FoundFile, How
from chorale.datasets.tables.manifest_text import ManifestLines
from chorale.datasets.tables.manifest_values import at_lines


@dataclass
class ManifestRow:
    """One line whose file exists: `cells` are stripped, by role; the values are read later.

    `label` is first the cell, then the label or the label set of the track; `unknown` the same of
    its unknown labels.
    """

    line: int
    path: Path
    name: str
    how: How
    label: str
    written_label: str
    cells: Mapping[str, str]
    others: tuple[str, ...]
    split: str | None = None
    fold: int | None = None
    time: float | None = None
    unknown: str = ""


@dataclass(frozen=True)
class FoundRows:
    """The lines with a file, the problems of the others, and notes on how paths were read."""

    rows: list[ManifestRow]
    problems: list[str]
    notes: list[str]


def read_rows(
    lines: ManifestLines, columns: Mapping[str, int], finder: FileFinder, *, root: Path
) -> FoundRows:
    """Finds the file of each line.

    Args:
        lines: the manifest's lines.
        columns: role -> the position of its column.
        finder: finds a file by its path.
        root: for the error about missing files.
    """
    rows: list[ManifestRow] = []
    missing: list[str] = []
    empty: list[int] = []
    long: list[int] = []
    n_columns = len(lines.header)
    for number, cells in lines.rows:
        if any(cell.strip() for cell in cells[n_columns:]):
            long.append(number)
            continue
        written = {role: cells[at] if at < len(cells) else "" for role, at in columns.items()}
        of_role = {role: cell.strip() for role, cell in written.items()}
        if not of_role["path"] or not (of_role["label"] or of_role.get("unknown")):
            empty.append(number)
            continue
        found = finder.find(of_role["path"])
        if not isinstance(found, FoundFile):
            hint = f"; {found.hint}" if found.hint else ""
            missing.append(f"'{of_role['path']}' (line {number}{hint})")
            continue
        others = tuple(cell for at, cell in enumerate(cells) if at not in columns.values())
        rows.append(
            ManifestRow(
                line=number,
                path=found.path,
                name=found.name,
                how=found.how,
                label=of_role["label"],
                written_label=written["label"],
                cells=of_role,
                others=others,
                unknown=of_role.get("unknown", ""),
            )
        )
    problems = [] if lines.rows else ["it has no rows below its first line"]
    if missing:
        count = "1 file is" if len(missing) == 1 else f"{len(missing)} files are"
        problems.append(
            f"{count} neither below '{root}' nor in the manifest's folder: {join_first(missing)}; "
            f"fix the paths, or give the folder that they start from with --dataset.root FOLDER"
        )
    if empty:
        problems.append(at_lines(empty, "path and label must not be empty"))
    if long:
        text = (
            f"more cells than the {n_columns} columns; put a cell with the separator "
            f"{lines.separator!r} in double quotes"
        )
        problems.append(at_lines(long, text))
    return FoundRows(rows, [*problems, *_shared_files(rows)], _path_notes(rows))


def _shared_files(rows: Sequence[ManifestRow]) -> list[str]:
    """Different paths that were found to be one file, at least one of them by searching."""
    written: dict[str, dict[str, ManifestRow]] = {}
    for row in rows:
        written.setdefault(row.name, {}).setdefault(row.cells["path"], row)
    bad = [
        " and ".join(f"'{cell}' (line {row.line})" for cell, row in list(by_cell.items())[:3])
        for by_cell in written.values()
        if len(by_cell) > 1 and any(row.how in _SEARCHED for row in by_cell.values())
    ]
    if not bad:
        return []
    return [
        f"different paths lead to one file ({len(bad)}), so that at least one of them is another "
        f"file: {join_first(bad)}; write the paths as they are below --dataset.root"
    ]


_SEARCHED: tuple[How, ...] = ("end of the path", "file name")
_READ_AS: Mapping[How, str] = {
    "backslashes": "have backslashes, which are read as /",
    "end of the path": "are of another folder and were found by their end below --dataset.root",
    "file name": "were found by their file name below --dataset.root",
}


def _path_notes(rows: Sequence[ManifestRow]) -> list[str]:
    first: dict[How, ManifestRow] = {}
    for row in rows:
        first.setdefault(row.how, row)
    counts = Counter(row.how for row in rows)
    return [
        f"{counts[how]} of {len(rows)} paths {_READ_AS[how]} ('{row.cells['path']}' is "
        f"'{row.name}')"
        for how, row in first.items()
        if how in _READ_AS
    ]


def group_problems(rows: Sequence[ManifestRow]) -> list[str]:
    """Groups in more than one split or fold."""
    problems = []
    for role in ("split", "fold"):
        parts: dict[str, dict[str, ManifestRow]] = {}
        for row in rows:
            part, group = getattr(row, role), row.cells.get("group")
            if part is not None and group:
                parts.setdefault(group, {}).setdefault(str(part), row)
        double = [
            f"'{group}' ({', '.join(sorted(of))}; lines "
            f"{', '.join(str(row.line) for row in of.values())})"
            for group, of in parts.items()
            if len(of) > 1
        ]
        if double:
            problems.append(
                f"groups in more than one {role} ({len(double)}): {join_first(double)}; the score "
                f"would be too optimistic; give each group one {role}, or type "
                f"--dataset.columns.group none if the column names no groups"
            )
    return problems


def space_notes(rows: Sequence[ManifestRow]) -> list[str]:
    """Labels that are also written with spaces around them."""
    written: dict[str, set[str]] = {}
    for row in rows:
        written.setdefault(row.label, set()).add(row.written_label)
    double = [
        f"'{label}' ({', '.join(repr(form) for form in sorted(forms - {label}))})"
        for label, forms in written.items()
        if len(forms) > 1
    ]
    if not double:
        return []
    return [f"spaces around a label are not part of it, so these are one: {join_first(double)}"]
