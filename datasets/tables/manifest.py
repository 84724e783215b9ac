"""Manifest reader: a table of the user's own audio files, with labels, groups, splits and times.

The dataset `folder` makes its track table from it. All problems are listed in one error, with the
numbers of their lines; what was recognised rather than given is returned as notes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chorale.datasets.base import expand_home
from chorale.datasets.errors import UserError, join_first
from chorale.datasets.tables import manifest_rows
from chorale.datasets.tables.fold_and_time import read_fold, read_time
from chorale.datasets.tables.manifest_columns import choose_columns
from chorale.datasets.tables.manifest_duplicates import has_segments, one_row_per_file
from chorale.datasets.tables.manifest_labels import (
    label_rules,
    multi_label_note,
    read_labels,
    read_unknown,
    several_rows_problems,
)
from chorale.datasets.tables.manifest_paths import FileFinder
from chorale.datasets.tables.manifest_rows import ManifestRow
from chorale.datasets.tables.manifest_text import SEPARATORS, read_lines
from chorale.datasets.tables.manifest_values import (
    at_lines,
    bad_split,
    fold_problems,
    read_split,
)

_WITHOUT_TIMES = "correct it, or type --dataset.columns.time none"


@dataclass(frozen=True)
class ManifestOptions:
    """How a manifest is read.

    `columns` maps a role (path, label, group, split, fold, time, unknown) to the column that the
    user named, `NO_COLUMN` for none. `commas_in_labels`: a label with a comma is one label.
    `multi_label`: a cell, and the rows of one file, may have several labels. `groups` is False if
    the groups come from elsewhere.
    """

    columns: Mapping[str, str | None] = field(default_factory=dict)
    encoding: str | None = None
    commas_in_labels: bool = False
    multi_label: bool = False
    groups: bool = True


@dataclass(frozen=True)
class TrackManifest:
    """The tracks of a manifest as rows of a track table, and notes about how it was read."""

    rows: list[dict[str, Any]]
    notes: list[str]


def find_manifest(root: Path, name: str) -> Path:
    """The path of the manifest `name`: below `root`, otherwise `name` itself.

    Raises:
        UserError: there is no such file in either place.
    """
    given = expand_home(name)
    candidates = (root / given, given)
    for path in candidates:
        if path.is_file():
            return path
    places = " or ".join(f"'{path}'" for path in dict.fromkeys(candidates))
    raise UserError(f"there is no manifest {places}; give it with --dataset.manifest FILE")


def read_track_manifest(
    manifest: Path,
    *,
    root: Path,
    options: ManifestOptions,
    files: Callable[[], Sequence[str]],
) -> TrackManifest:
    """The manifest's rows: `track_id`, `path`, `label`, `group`, `split`, `fold`, `time` and
    `unknown`.

    `track_id` is the path relative to `root`. A track without a group is its own group; without a
    column for them, `split`, `fold` and `time` are None. Equal rows of one file are one track. A
    track with several labels has them as `datasets.label_sets` joins them; there are such where the
    options say so, where a column `labels` has cells with a `;`, or where a column `unknown` says
    which labels are unknown.

    Args:
        manifest: the file.
        root: the folder that its paths start from, unless they start from its own folder.
        options: its columns, encoding and labels.
        files: lists the files below `root`, for paths that are not found as they are written.

    Raises:
        UserError: it is no text table, lacks a column, is empty, names files that do not exist,
            has several labels for a file where it is not multi-label, an empty path or label, an
            unknown split, folds with gaps, times that cannot be read, or a group in two splits or
            folds. All are listed.
    """
    lines = read_lines(manifest, encoding=options.encoding)
    columns, note = choose_columns(manifest, lines.header, options.columns)
    notes = [note] if note else []
    if lines.separator != SEPARATORS[0]:
        notes.append(f"its cells are separated by {lines.separator!r}")
    found = manifest_rows.read_rows(
        lines, columns, FileFinder(root, manifest.parent, files), root=root
    )
    problems = list(found.problems)
    has_unknown = any(row.unknown for row in found.rows)
    rules = label_rules(
        found.rows,
        column=lines.header[columns["label"]],
        multi_label=options.multi_label or has_unknown,
        commas=options.commas_in_labels,
    )
    if not rules.separators:
        notes += manifest_rows.space_notes(found.rows)
    bad_labels, label_notes = read_labels(found.rows, rules)
    problems += bad_labels
    if has_unknown:
        problems += read_unknown(found.rows, rules)
    if not rules.merge_rows:
        problems += several_rows_problems(found.rows)
    problems += _read_values(found.rows)
    kept, merged, differing = one_row_per_file(
        found.rows, segments=has_segments(lines.header), merge_labels=rules.merge_rows
    )
    problems += differing
    if options.groups:
        problems += manifest_rows.group_problems(kept)
    if problems:
        every = "\n  ".join(problems)
        raise UserError(f"manifest '{manifest}' must be fixed:\n  {every}")
    notes += [*found.notes, *label_notes, *merged, *multi_label_note(kept, rules)]
    return TrackManifest([_track(row) for row in kept], [f"{manifest.name}: {n}" for n in notes])


def _read_values(rows: Sequence[ManifestRow]) -> list[str]:
    """Reads the splits, folds and times into `rows`; returns the problems."""
    problems: dict[str, dict[str, list[int]]] = {"split": {}, "fold": {}, "time": {}}

    def problem(role: str, text: str, row: ManifestRow) -> None:
        problems[role].setdefault(text, []).append(row.line)

    has_splits = any(row.cells.get("split") for row in rows)
    has_folds = any(row.cells.get("fold") for row in rows)
    for row in rows:
        split, fold, time = (row.cells.get(role, "") for role in ("split", "fold", "time"))
        if has_splits:
            row.split = read_split(split)
            if row.split is None:
                problem("split", bad_split(split), row)
        if fold:
            try:
                row.fold = read_fold(fold)
            except ValueError as error:
                problem("fold", f"fold {error}", row)
        elif has_folds and row.split != "test":
            problem("fold", "the fold is missing; give each row one, or none", row)
        if time:
            try:
                row.time = read_time(time)
            except ValueError as error:
                problem("time", f"time {error}; {_WITHOUT_TIMES}", row)
    folds = [row.fold for row in rows if row.fold is not None]
    if folds and 0 not in folds:  # folds are counted from 0
        for row in rows:
            row.fold = None if row.fold is None else row.fold - 1
    found = [
        join_first((at_lines(lines, text) for text, lines in kinds.items()), between="\n  ")
        for kinds in problems.values()
        if kinds
    ]
    return found if problems["fold"] else [*found, *fold_problems(folds)]


def _track(row: ManifestRow) -> dict[str, Any]:
    return {
        "track_id": row.name,
        "path": str(row.path),
        "label": row.label,
        "group": row.cells.get("group") or row.name,
        "split": row.split,
        "fold": row.fold,
        "time": row.time,
        "unknown": row.unknown,
    }
