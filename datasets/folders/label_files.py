"""Label files beside the recordings of a folder: label tracks of Audacity, tables of BirdNET.

`datasets.catalog.folder` gives each recording the labels in its files. What has no counterpart is
accounted for, as a recording without labels is no track.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from chorale.datasets.base import IGNORED, NOT_READ
from chorale.datasets.errors import UserError, join_first
from chorale.datasets.folders.label_formats import (
    FileLabels,
    LabelFileError,
    read_audacity,
    read_birdnet,
)
from chorale.datasets.folders.listing import Listing, ending_of
from chorale.datasets.label_sets import LABEL_SEPARATOR, join_labels

LabelFileKind = Literal["audacity", "birdnet"]

_BIRDNET = ".birdnet."
_COMBINED = ("birdnet_selectiontable.txt", "birdnet_combinedtable.csv")
"""BirdNET's tables of all recordings of a folder."""
_FILE_NAMES: Mapping[LabelFileKind, str] = {
    "audacity": "NAME.txt",
    "birdnet": "NAME.BirdNET.selection.table.txt or NAME.BirdNET.results.csv",
}


@dataclass(frozen=True)
class LabelledRecordings:
    """Rows of a track table, notes about them, and what became of the other files.

    `others` maps a file to the problem, outcome and detail that `NOT_READ_COLUMNS` describes.
    """

    rows: list[dict[str, Any]]
    notes: list[str]
    others: Mapping[str, tuple[str, str, str]]


def read_label_files(
    listing: Listing, audio: Sequence[str], *, kind: LabelFileKind, min_confidence: float
) -> LabelledRecordings:
    """The recordings that have labels in files beside them, in the same folder.

    A recording NAME.wav has the labels of all of its files, and is its own group.

    Args:
        listing: the files below the root.
        audio: those that are recordings.
        kind: what wrote the label files.
        min_confidence: BirdNET's detections below it are left out.

    Raises:
        UserError: a recording's label file is none, or no recording has labels.
    """

    def read(name: str) -> FileLabels:
        if kind == "audacity":
            return read_audacity(listing.root / name)
        return read_birdnet(listing.root / name, min_confidence=min_confidence)

    candidates = _candidates(listing.files, kind)
    rows: list[dict[str, Any]] = []
    others: dict[str, tuple[str, str, str]] = {}
    problems: list[str] = []
    of_file: dict[str, FileLabels] = {}
    for name in audio:
        own = candidates.get(name.rpartition(".")[0], []) + candidates.get(name, [])
        found: list[str] = []
        for file in own:
            try:
                of_file[file] = of_file.get(file) or read(file)
                found += of_file[file].labels
                others[file] = ("label file", IGNORED, f"it has the labels of '{name}'")
            except LabelFileError as error:
                problems.append(f"'{file}': {error}")
        if label := join_labels(text.replace(LABEL_SEPARATOR, ",") for text in found):
            row = {"track_id": name, "path": str(listing.root / name), "group": name}
            rows.append({**row, "label": label})
        elif not own:
            detail = f"expected {_FILE_NAMES[kind]} beside it"
            others[name] = (f"{ending_of(name)} without a label file", NOT_READ, detail)
        else:
            detail = f"'{own[0]}' has {_nothing(kind, min_confidence)}"
            others[name] = (f"{ending_of(name)} without a label", NOT_READ, detail)
    _refuse(problems, rows, audio, listing, kind)
    others |= _without_recording(listing.files, candidates, others, kind, read)
    return LabelledRecordings(rows, _notes(rows, audio, of_file, kind), others)


def _candidates(files: Sequence[str], kind: LabelFileKind) -> dict[str, list[str]]:
    """Name of a recording without its ending -> the files that may have its labels."""
    found: dict[str, list[str]] = {}
    for file in files:
        stem, dot, ending = file.rpartition(".")
        at = file.lower().rfind(_BIRDNET)
        if kind == "audacity" and dot and ending.lower() == "txt" and at < 0:
            found.setdefault(stem, []).append(file)
        elif kind == "birdnet" and at > 0 and ending.lower() in ("txt", "csv"):
            found.setdefault(file[:at], []).append(file)
    return found


def _without_recording(
    files: Sequence[str],
    candidates: Mapping[str, Sequence[str]],
    known: Mapping[str, object],
    kind: LabelFileKind,
    read: Callable[[str], FileLabels],
) -> dict[str, tuple[str, str, str]]:
    """The label files without a recording; a text that is no label track is none."""
    detail = "there is no recording of its name in its folder: restore it, or remove the file"
    found = {}
    for file in (file for of_name in candidates.values() for file in of_name):
        if file in known or (kind == "audacity" and not _is_label_track(file, read)):
            continue
        found[file] = ("label file without a recording", NOT_READ, detail)
    if kind == "birdnet":
        one_each = "let BirdNET-Analyzer write one table for each recording"
        for file in files:
            if file.rsplit("/", 1)[-1].lower() in _COMBINED:
                found[file] = ("table of several recordings", NOT_READ, one_each)
    return found


def _is_label_track(file: str, read: Callable[[str], FileLabels]) -> bool:
    try:
        return bool(read(file).labels)
    except LabelFileError:
        return False


def _nothing(kind: LabelFileKind, min_confidence: float) -> str:
    if kind == "audacity":
        return "no label"
    return (
        f"no detection with a confidence of {min_confidence:g} or more (--dataset.min_confidence)"
    )


def _refuse(
    problems: Sequence[str],
    rows: Sequence[object],
    audio: Sequence[str],
    listing: Listing,
    kind: LabelFileKind,
) -> None:
    if problems:
        lines = join_first(problems, between="\n  ")
        raise UserError(
            f"dataset 'folder': {len(problems)} files in '{listing.root}' are no label files of "
            f"{kind}; correct, rename or remove them:\n  {lines}"
        )
    if not rows:
        raise UserError(
            f"dataset 'folder': none of the {len(audio)} recordings below '{listing.root}' has "
            f"labels in a file of {kind} beside it; expected {_FILE_NAMES[kind]} in the same "
            f"folder as NAME.wav, or give another --dataset.labels_from"
        )


def _notes(
    rows: Sequence[object],
    audio: Sequence[str],
    of_file: Mapping[str, FileLabels],
    kind: LabelFileKind,
) -> list[str]:
    notes = [f"the labels of {len(rows)} recordings are read from {len(of_file)} files of {kind}"]
    if n_left := len(audio) - len(rows):
        notes.append(
            f"{n_left} of {len(audio)} recordings have no label file, or no label in it, and are "
            f"left out; chorale data check lists them"
        )
    if n_unnamed := sum(found.n_unnamed for found in of_file.values()):
        notes.append(f"{n_unnamed} marks without text in label files are no labels")
    renamed = {text for found in of_file.values() for text in found.labels}
    if changed := sorted(f"'{text}'" for text in renamed if LABEL_SEPARATOR in text):
        notes.append(f"a semicolon in a label is replaced by a comma: {join_first(changed)}")
    return notes
