"""The user's own audio: one folder per label, or a manifest CSV.

Makes the track table; no audio is decoded here.
"""

import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chorale.datasets.audio_formats import AUDIO_EXTENSIONS
from chorale.datasets.base import DatasetInfo, existing_folder, track_table
from chorale.datasets.config import config
from chorale.datasets.errors import UserError, join_first
from chorale.datasets.splitting import grouping
from chorale.datasets.tables.manifest import find_manifest, read_track_manifest

if TYPE_CHECKING:
    import pandas as pd

INFO = DatasetInfo(
    name="folder",
    title="A folder of labelled audio files, or a manifest CSV",
    licence="that of your own data",
    citation="your own data",
    homepage="your own data",
    how_to_get="it is your own audio: give its folder with --dataset.root FOLDER",
)

_log = logging.getLogger(__name__)


@config
class Config:
    """Where the audio is, and what its labels and groups are."""

    root: str
    """folder with one sub-folder per label; with a manifest: the folder its paths start from"""
    manifest: str | None = None
    """CSV file with the columns path,label[,group][,split]; a path below root, or any path"""
    group: str | None = None
    """what must not be on two sides of a split: `parent_folder`, the folder of a track below its
    label's folder; `tag:artist` or another tag of the files; or a regular expression on a track's
    path below root: its first group, or the one named `group`; without it each track is its own"""
    extensions: tuple[str, ...] = AUDIO_EXTENSIONS
    """file extensions of audio, in lower or upper case; of a file with video, such as mp4 and webm,
    only the first sound track is used"""


def tracks(config: Config) -> "pd.DataFrame":
    """The tracks below `root`, or those in the manifest (see `TRACK_COLUMNS`).

    `track_id` is the path relative to `root`. A group by the config overrides one in the manifest;
    a track without either is its own group. Hidden files and folders are skipped, and so are
    AppleDouble files (`._*`).

    Raises:
        UserError: a folder, file or column is missing, nothing is found, there is only one label,
            the regular expression does not match every track, or a group is in two splits.
    """
    root = existing_folder(config.root, dataset=INFO.name)
    if config.manifest is None:
        rows = _scan(root, config.extensions)
    else:
        rows = read_track_manifest(find_manifest(root, config.manifest), root=root)
    if config.group is not None:
        groups = _groups(config.group, rows)
        rows = [{**row, "group": group} for row, group in zip(rows, groups, strict=True)]
    table = track_table(rows)
    labels = table["label"].unique()
    if len(labels) == 1:
        raise UserError(
            f"dataset 'folder': all {len(table)} tracks have the one label '{labels[0]}'; a "
            f"classifier needs two or more. {_layout(root, config.extensions)}"
        )
    _refuse_groups_in_two_splits(table)
    return table


def _layout(root: Path, extensions: tuple[str, ...]) -> str:
    return (
        f"Expected: {root}/LABEL/.../FILE with one of the extensions {', '.join(extensions)}; "
        f"or give a CSV with the columns path,label with --dataset.manifest FILE"
    )


def _scan(root: Path, extensions: tuple[str, ...]) -> list[dict[str, str | None]]:
    """One row per audio file below a label's folder."""
    endings = tuple("." + ending.lower().lstrip(".") for ending in extensions)
    names = [name for name in _file_names(root) if name.lower().endswith(endings)]
    loose = [name for name in names if "/" not in name]
    if len(names) == len(loose):
        hint = f" ({len(loose)} are directly in it, where they have no label)" if loose else ""
        raise UserError(
            f"dataset 'folder': no audio in any label's folder below '{root}'{hint}. "
            f"{_layout(root, extensions)}"
        )
    if loose:
        _log.warning("skipped %d files directly in %s: they have no label", len(loose), root)
    return [
        {
            "track_id": name,
            "path": str(root / name),
            "label": name.split("/", 1)[0],
            "group": name,
        }
        for name in names
        if "/" in name
    ]


def _file_names(root: Path) -> list[str]:
    """POSIX paths below `root` of all files that are not hidden, sorted.

    Each folder is read once: under its own path if it is below `root`, otherwise under the first
    link to it. So circular links terminate, and a link beside a folder does not replace its path.
    """
    seen: set[tuple[int, int]] = set()
    found: list[str] = []
    pending = [root]
    while pending:
        for folder, folders, names in os.walk(pending.pop(0), onerror=_refuse_unreadable):
            here = Path(folder)
            status = here.stat()
            if (status.st_dev, status.st_ino) in seen:
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            below = sorted(name for name in folders if not name.startswith("."))
            pending += [here / name for name in below if (here / name).is_symlink()]
            folders[:] = [name for name in below if not (here / name).is_symlink()]
            visible = [here / name for name in names if not name.startswith(".")]
            found += [path.relative_to(root).as_posix() for path in visible if path.is_file()]
    for name in found:
        _refuse_undecodable(name)
    return sorted(found)


def _refuse_unreadable(error: OSError) -> None:
    raise UserError(
        f"dataset 'folder': '{error.filename}' cannot be read ({error.strerror}); "
        f"change its permissions, or give another --dataset.root FOLDER"
    )


def _refuse_undecodable(name: str) -> None:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise UserError(
            f"dataset 'folder': the file name {name!r} is not valid UTF-8, so it cannot be a "
            f"track id; rename the file"
        ) from None


def _groups(wanted: str, rows: Sequence[Mapping[str, str | None]]) -> list[str]:
    """The group of each row by the config's `group`."""
    names = [str(row["track_id"]) for row in rows]
    if wanted == grouping.PARENT_FOLDER:
        found = grouping.folder_groups(names, [str(row["label"]) for row in rows])
        _refuse_without(found, names, f"group '{wanted}': no folder below the label's")
        return found
    if not wanted.startswith(grouping.TAG_PREFIX):
        return _matched_groups(wanted, names)
    tag = wanted.removeprefix(grouping.TAG_PREFIX).strip()
    tags = grouping.tag_groups([str(row["path"]) for row in rows], tag)
    # a file that cannot be opened has no tag, and the audit will exclude it
    found = [name if one is None else one for one, name in zip(tags, names, strict=True)]
    _refuse_without(found, names, f"group '{wanted}': no {tag or 'tag'}")
    return found


def _refuse_without(groups: Sequence[str], names: Sequence[str], what: str) -> None:
    without = [name for name, group in zip(names, groups, strict=True) if not group]
    if without:
        raise UserError(
            f"dataset 'folder': {what} for {len(without)} of {len(names)} tracks, such as "
            f"'{without[0]}'; every track needs one, or give another --dataset.group "
            f"parent_folder, tag:NAME or REGEX"
        )


def _matched_groups(pattern: str, names: list[str]) -> list[str]:
    """The group that the regular expression finds in each of the names."""
    fix = "correct it with --dataset.group REGEX"
    try:
        regex = re.compile(pattern)
    except re.error as error:
        raise UserError(
            f"dataset 'folder': group '{pattern}' is no regular expression: {error}; {fix}"
        ) from None
    if not regex.groups:
        raise UserError(
            f"dataset 'folder': group '{pattern}' has no ( ) around the part that is the group; "
            f"an example name is '{names[0]}'; {fix}"
        )
    key: str | int = "group" if "group" in regex.groupindex else 1
    found = [match.group(key) if (match := regex.search(name)) else None for name in names]
    unmatched = [name for name, group in zip(names, found, strict=True) if not group]
    if unmatched:
        raise UserError(
            f"dataset 'folder': group '{pattern}' finds no group in {len(unmatched)} of "
            f"{len(names)} names, such as '{unmatched[0]}'; it must match every one; {fix}"
        )
    return [group for group in found if group]


def _refuse_groups_in_two_splits(table: "pd.DataFrame") -> None:
    splits = table.dropna(subset=["split"]).groupby("group")["split"].unique()
    double = [f"'{group}' ({', '.join(sorted(of))})" for group, of in splits.items() if len(of) > 1]
    if double:
        raise UserError(
            f"dataset 'folder': groups in more than one split ({len(double)}): "
            f"{join_first(double)}; the test score would be too optimistic; give each group one "
            f"split in the manifest"
        )
