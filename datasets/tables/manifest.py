"""Manifest CSV reader: `path,label[,group][,split]` of the user's own audio files.

The dataset `folder` makes its track table from it. All problems are listed in one error.
"""

import csv
import difflib
import io
import os
from pathlib import Path

from chorale.datasets.errors import UserError, join_first

REQUIRED_COLUMNS = ("path", "label")
OPTIONAL_COLUMNS = ("group", "split")
SPLITS = ("train", "valid", "test")


def find_manifest(root: Path, name: str) -> Path:
    """The path of the manifest `name`: below `root`, otherwise `name` itself.

    Raises:
        UserError: there is no such file in either place.
    """
    candidates = (root / Path(name).expanduser(), Path(name).expanduser())
    for path in candidates:
        if path.is_file():
            return path
    places = " or ".join(f"'{path}'" for path in dict.fromkeys(candidates))
    raise UserError(f"there is no manifest {places}; give it with --dataset.manifest FILE")


def read_track_manifest(manifest: Path, *, root: Path) -> list[dict[str, str | None]]:
    """The manifest's rows: `track_id`, `path`, `label`, `group` and `split` of each track.

    Paths are relative to `root` or to the manifest's folder; `track_id` is relative to `root`.
    A track without a group is its own group; without a `split` column, `split` is None.

    Raises:
        UserError: it is no CSV, lacks a column, is empty, names files that do not exist, has an
            empty path or label, or a split that is not one of `SPLITS`.
    """
    lines = _read_lines(manifest)
    official = any(line.get("split") for _, line in lines)
    rows: list[dict[str, str | None]] = []
    problems: list[str] = [] if lines else ["it has no rows below its first line"]
    missing: list[str] = []
    for number, line in lines:
        split = line.get("split") or None
        if official and split not in SPLITS:
            problems.append(f"line {number}: {_bad_split(split)}")
        if not line["path"] or not line["label"]:
            problems.append(f"line {number}: path and label must not be empty")
        elif (path := _audio_path(line["path"], root, manifest.parent)) is None:
            missing.append(f"'{line['path']}' (line {number})")
        else:
            name = os.path.relpath(path, root).replace(os.sep, "/")
            group = line.get("group") or name
            rows.append(
                {
                    "track_id": name,
                    "path": str(path),
                    "label": line["label"],
                    "group": group,
                    "split": split,
                }
            )
    if missing:
        count = "1 file is" if len(missing) == 1 else f"{len(missing)} files are"
        problems.insert(
            0,
            f"{count} neither below '{root}' nor in the manifest's folder: {join_first(missing)}; "
            f"fix the paths, or give the folder that they start from with --dataset.root FOLDER",
        )
    if problems:
        every = join_first(problems, between="\n  ")
        raise UserError(f"manifest '{manifest}' must be fixed:\n  {every}")
    return rows


def _read_lines(manifest: Path) -> list[tuple[int, dict[str, str]]]:
    """The manifest's lines with their numbers, if it has the required columns."""
    try:
        # Excel writes a byte order mark at the start of a UTF-8 file
        text = manifest.read_text(encoding="utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), restval="", restkey="")
        columns = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = columns
        _check_columns(manifest, columns)
        return [
            (reader.line_num, {name: str(cell).strip() for name, cell in line.items()})
            for line in reader
        ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"manifest '{manifest}' is not a CSV file in UTF-8 ({error}); save it as 'CSV UTF-8'"
        ) from None


def _check_columns(manifest: Path, columns: list[str]) -> None:
    absent = [name for name in REQUIRED_COLUMNS if name not in columns]
    if not absent:
        return
    free = [name for name in columns if name not in (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS)]
    hints = [
        f"did you mean '{name}' instead of '{near[0]}'? "
        for name in absent
        if (near := difflib.get_close_matches(name, free, n=1, cutoff=0.5))
    ]
    raise UserError(
        f"manifest '{manifest}' lacks the column {' and '.join(absent)}; its first line is "
        f"'{','.join(columns)}'; {''.join(hints)}it must name {','.join(REQUIRED_COLUMNS)} "
        f"({' and '.join(OPTIONAL_COLUMNS)} may follow), separated by commas"
    )


def _bad_split(split: str | None) -> str:
    near = difflib.get_close_matches(split or "", SPLITS, n=1, cutoff=0.4)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return f"split '{split or ''}' is unknown; {hint}choose from: {', '.join(SPLITS)}"


def _audio_path(name: str, *folders: Path) -> Path | None:
    for folder in folders:
        path = folder / Path(name).expanduser()
        if path.is_file():
            return Path(os.path.normpath(path))
    return None
