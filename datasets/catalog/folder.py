"""The user's own audio: one folder per label, a manifest CSV, or label files beside recordings.

Makes the track table, and accounts for the files that are no track; no audio is decoded here.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from chorale.datasets.audio_formats import AUDIO_EXTENSIONS
from chorale.datasets.base import DatasetInfo, existing_folder, track_table
from chorale.datasets.config import NameList, config
from chorale.datasets.errors import UserError, join_first
from chorale.datasets.folders.groups import find_groups
from chorale.datasets.folders.label_files import (
    LabelFileKind,
    LabelledRecordings,
    read_label_files,
)
from chorale.datasets.folders.layout import FolderLayout, LayoutName, folder_layout
from chorale.datasets.folders.listing import Listing, list_files
from chorale.datasets.folders.refusals import (
    expected_text,
    nothing_found,
    refuse_groups_in_two_splits,
)
from chorale.datasets.folders.unread import (
    unread_beside_label_files,
    unread_beside_manifest,
    unread_in_folders,
)
from chorale.datasets.label_sets import LABEL_SEPARATOR
from chorale.datasets.tables.manifest import (
    ManifestOptions,
    find_manifest,
    read_track_manifest,
)
from chorale.datasets.tables.manifest_text import read_lines

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

METADATA = ("metadata.csv", "file_name")
"""The manifest of Hugging Face's audio folders, and its column of paths."""

_log = logging.getLogger(__name__)


@config
class Columns:
    """The columns of a manifest; without one, usual names are recognised; `none`: no column."""

    path: str | None = None
    """the file, relative to `root` or to the manifest"""
    label: str | None = None
    """the class"""
    group: str | None = None
    """what must not be on two sides of a split: artist, speaker, recording"""
    split: str | None = None
    """official split: train, valid or test"""
    fold: str | None = None
    """official fold, from 0 or 1 on"""
    time: str | None = None
    """when it was recorded: ISO 8601, or seconds since 1970"""
    unknown: str | None = None
    """labels of which it is not known whether the file has them; it is then multi-label"""


@config
class Config:
    """Where the audio is, and what its labels and groups are."""

    root: str
    """folder with one sub-folder per label; with a manifest: the folder its paths start from"""
    manifest: str | None = None
    """CSV file with the columns path,label[,group][,split][,fold][,time][,unknown]; a path below
    root, or any path; metadata.csv with the column file_name is read by itself where no folders
    are labels"""
    columns: Columns = Columns()
    """its columns, if they have other names: {label: species, group: recording}"""
    encoding: str | None = None
    """its encoding, if it is neither UTF-8 nor UTF-16 with a byte order mark: cp1252"""
    commas_in_labels: bool = False
    """a label in it with a comma, semicolon or bar is one label; otherwise such cells are refused
    where a track has one label; with multi_label only a comma is part of a label"""
    multi_label: bool = False
    """a track in it may have several labels: cells are separated at semicolons, bars and commas,
    and a file has the labels of all its rows; a column named labels with semicolons in its cells
    needs no such key"""
    layout: LayoutName = "auto"
    """what the folders in root are: labels; split (train, val, test, with labels' folders in each);
    fold (fold1, fold2, ..., likewise); auto: recognised by their names"""
    labels_from: LabelFileKind | None = None
    """files beside the recordings that have their labels, instead of folders: `audacity`, a label
    track NAME.txt; `birdnet`, its tables NAME.BirdNET.selection.table.txt or
    NAME.BirdNET.results.csv; a recording has every label in its files"""
    min_confidence: Annotated[float, Field(ge=0, le=1)] = 0.5
    """with labels_from birdnet: a species is a label if a detection is at least this confident"""
    group: str | None = None
    """what must not be on two sides of a split: `parent_folder`, the folder of a track below its
    label's folder; `tag:artist` or another tag of the files; or a regular expression on a track's
    path below root: its first group, or the one named `group`; without it each track is its own"""
    extensions: NameList = AUDIO_EXTENSIONS
    """file extensions of audio, in lower or upper case; of a file with video, such as mp4 and webm,
    only the first sound track is used"""

    def __post_init__(self) -> None:
        if self.manifest is not None and self.layout != "auto":
            raise ValueError(
                f"layout={self.layout} is about folders, and a manifest is given; remove one"
            )
        if self.labels_from is not None and (self.manifest is not None or self.layout != "auto"):
            raise ValueError(
                f"labels_from={self.labels_from} takes labels from files beside the recordings, "
                f"and a manifest or a layout is given; remove one"
            )


@dataclass(frozen=True)
class _Reading:
    """What was read: the rows of the track table, and what accounts for the other files."""

    rows: list[dict[str, Any]]
    notes: list[str]
    listing: Listing | None
    layout: FolderLayout
    manifest: Path | None
    labelled: LabelledRecordings | None = None


def tracks(config: Config) -> "pd.DataFrame":
    """The tracks below `root`, or those in the manifest (see `TRACK_COLUMNS`).

    `track_id` is the path relative to `root`. A group by the config overrides one in the manifest;
    a track without either is its own group. Hidden files and folders are skipped, and so are
    AppleDouble files (`._*`); `not_read` returns all files that are no track. What was recognised
    rather than given is logged.

    Raises:
        UserError: a folder, file or column is missing, nothing is found, there is only one label,
            folders or columns are not clear, the manifest has problems, the regular expression does
            not match every track, or a group is in two splits.
    """
    reading = _read(config)
    for note in reading.notes:
        _log.warning("folder: %s", note)
    rows = reading.rows
    if config.group is not None:
        in_folders = config.labels_from is None
        named = rows if in_folders else [{**row, "label": ""} for row in rows]
        groups = find_groups(config.group, named)
        rows = [{**row, "group": group} for row, group in zip(rows, groups, strict=True)]
    table = track_table(rows)
    _refuse_one_label(table, reading, config)
    refuse_groups_in_two_splits(table)
    return table


def not_read(config: Config) -> "pd.DataFrame":
    """The files below `root` that are no track (see `NOT_READ_COLUMNS`).

    Raises:
        UserError: as `tracks`.
    """
    reading = _read(config)
    listing = reading.listing or list_files(existing_folder(config.root, dataset=INFO.name))
    used = {str(row["track_id"]) for row in reading.rows}
    endings = _endings(config)
    if reading.labelled is not None:
        others = reading.labelled.others
        return unread_beside_label_files(listing, others, used=used, extensions=endings)
    if reading.manifest is not None:
        return unread_beside_manifest(listing, reading.manifest, used=used, extensions=endings)
    return unread_in_folders(listing, reading.layout, used=used, extensions=endings)


def _read(config: Config) -> _Reading:
    root = existing_folder(config.root, dataset=INFO.name)
    if config.manifest is not None:
        return _read_manifest(config, root, find_manifest(root, config.manifest))
    listing = list_files(root)
    endings = tuple("." + ending for ending in _endings(config))
    audio = [name for name in listing.files if name.lower().endswith(endings)]
    if config.labels_from is not None:
        return _read_label_files(config, listing, audio, kind=config.labels_from)
    n_folders = len({name.split("/")[0] for name in audio if "/" in name})
    metadata = _metadata(listing, config, n_folders=n_folders)
    if metadata is not None and n_folders < 2:
        found = _read_manifest(config, root, metadata, listing=listing)
        note = f"'{metadata}' is read as the manifest, because no folders are labels"
        return _Reading(found.rows, [note, *found.notes], listing, found.layout, metadata)
    _refuse_manifest_keys(config, root, "folders")
    layout = folder_layout(audio, config.layout, root=root)
    rows = []
    for name in audio:
        if (place := layout.place(name)) is not None:
            label = place.label.replace(LABEL_SEPARATOR, ",")
            row = {"track_id": name, "path": str(root / name), "group": name, "label": label}
            rows.append({**row, "split": place.split, "fold": place.fold})
    if not rows:
        raise nothing_found(listing, audio, layout=config.layout, extensions=config.extensions)
    notes = [layout.note] if layout.note else []
    if any(LABEL_SEPARATOR in folder for folder in layout.label_folders(listing.folders)):
        notes.append("a semicolon in the name of a label's folder is replaced by a comma")
    if metadata is not None:
        notes.append(
            f"'{metadata}' is not read, because the folders are labels; to read it, type "
            f"--dataset.manifest {metadata.name}"
        )
    return _Reading(rows, notes, listing, layout, None)


def _read_label_files(
    config: Config, listing: Listing, audio: Sequence[str], *, kind: LabelFileKind
) -> _Reading:
    _refuse_manifest_keys(config, listing.root, f"label files of {kind}")
    found = read_label_files(listing, audio, kind=kind, min_confidence=config.min_confidence)
    return _Reading(found.rows, found.notes, listing, FolderLayout("labels", {}), None, found)


def _refuse_manifest_keys(config: Config, root: Path, read: str) -> None:
    of_manifest = (config.encoding, config.commas_in_labels, config.multi_label)
    if config.columns != Columns() or any(of_manifest):
        raise UserError(
            f"dataset 'folder': columns, encoding, commas_in_labels and multi_label are about a "
            f"manifest, and the {read} in '{root}' are read; give the manifest with "
            f"--dataset.manifest FILE, or leave them out"
        )


def _read_manifest(
    config: Config, root: Path, manifest: Path, *, listing: Listing | None = None
) -> _Reading:
    options = ManifestOptions(
        columns=vars(config.columns),
        encoding=config.encoding,
        commas_in_labels=config.commas_in_labels,
        multi_label=config.multi_label,
        groups=config.group is None,
    )
    found = read_track_manifest(
        manifest, root=root, options=options, files=lambda: (listing or list_files(root)).files
    )
    return _Reading(found.rows, found.notes, listing, FolderLayout("labels", {}), manifest)


def _metadata(listing: Listing, config: Config, *, n_folders: int) -> Path | None:
    """The manifest of a Hugging Face audio folder, if there is one."""
    name, column = METADATA
    if config.layout != "auto" or name not in listing.files:
        return None
    path = listing.root / name
    try:
        return path if column in read_lines(path, encoding=config.encoding).header else None
    except UserError:
        if n_folders < 2:
            raise
        return None  # the folders are labels, so that it need not be a manifest


def _endings(config: Config) -> tuple[str, ...]:
    return tuple(ending.lower().lstrip(".") for ending in config.extensions)


def _refuse_one_label(table: "pd.DataFrame", reading: _Reading, config: Config) -> None:
    labels = table["label"].unique()
    if len(labels) != 1:
        return
    hint = ""
    if reading.listing is not None and reading.layout.name == "labels":
        label = str(labels[0])
        below = [name for name in reading.listing.folders if name.startswith(f"{label}/")]
        inside = [name.split("/")[1] for name in below if name.count("/") == 1]
        if len(inside) > 1:
            hint = (
                f"If the labels are the folders in it ({join_first(inside)}), type "
                f"--dataset.root {Path(config.root) / label}. "
            )
    if config.labels_from is None:
        files = () if reading.listing is None else reading.listing.files
        hint += expected_text(Path(config.root), config.extensions, files)
    raise UserError(
        f"dataset 'folder': all {len(table)} tracks have the one label '{labels[0]}'; a "
        f"classifier needs two or more. {hint}"
    )
