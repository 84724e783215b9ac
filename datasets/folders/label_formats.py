"""Label files of Audacity and BirdNET: the labels in one file beside a recording.

`label_files` reads those of a folder here. Where in the recording a label is does not matter.
Sources: Audacity's manual, "Importing and Exporting Labels",
https://manual.audacityteam.org/man/importing_and_exporting_labels.html; Kahl et al. 2021,
"BirdNET: A deep learning solution for avian diversity monitoring", Ecological Informatics 61, and
the tables that BirdNET-Analyzer writes, https://github.com/birdnet-team/BirdNET-Analyzer.
"""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

NO_CALL = "nocall"
"""The row of a BirdNET table that has no detection."""

_SPECTRAL_LINE = "\\"
"""Begins a line with the frequencies of the label above it."""
_NAME_COLUMNS = ("common name", "scientific name")
"""Columns of a BirdNET table with the name of the species, the best first."""
_AUDACITY_LINE = "seconds, TAB, seconds, TAB, label"


class LabelFileError(Exception):
    """A file that is no such label file; the text says where and what was expected."""


@dataclass(frozen=True)
class FileLabels:
    """The labels in one file, and how many of its marks have no text."""

    labels: tuple[str, ...]
    n_unnamed: int = 0


def read_audacity(path: Path) -> FileLabels:
    """The labels of an Audacity label track: lines of start TAB end TAB label.

    Raises:
        LabelFileError: it is no text in UTF-8, or a line does not begin with two times.
    """
    labels: list[str] = []
    n_unnamed = 0
    for number, line in _lines(path):
        if line.startswith(_SPECTRAL_LINE):
            continue
        start, end, *text = [*line.split("\t"), ""][:3]
        if _number(start) is None or _number(end) is None:
            raise LabelFileError(f"line {number}: expected {_AUDACITY_LINE}, but got '{line[:60]}'")
        if label := "".join(text).strip():
            labels.append(label)
        else:
            n_unnamed += 1
    return FileLabels(tuple(labels), n_unnamed)


def read_birdnet(path: Path, *, min_confidence: float) -> FileLabels:
    """The common names of the species that BirdNET detected, at least with `min_confidence`.

    Reads its tables for Raven, for Audacity, and as CSV. A species without a common name has its
    scientific name.

    Raises:
        LabelFileError: it is no text in UTF-8, no such table, or has a confidence that is no
            number.
    """
    lines = _lines(path)
    if not lines:
        return FileLabels(())
    delimiter = "\t" if "\t" in lines[0][1] else ","
    text = "\n".join(line for _, line in lines)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise LabelFileError(f"it is no table ({error})") from None
    header = [cell.strip().lower().replace("_", " ") for cell in rows[0]]
    names = [header.index(name) for name in _NAME_COLUMNS if name in header]
    if names and "confidence" in header:
        body, confidence = rows[1:], header.index("confidence")
    elif delimiter == "\t" and _number(rows[0][0]) is not None:
        body, names, confidence = rows, [2], 3  # of Audacity, without a header
    else:
        raise LabelFileError(
            f"line 1: expected columns 'Common name' and 'Confidence', or {_AUDACITY_LINE}, TAB, "
            f"confidence, but got '{lines[0][1][:60]}'"
        )
    found = []
    for cells in body:
        of_row = _cell(cells, confidence)
        value = _number(of_row)
        if value is None:
            raise LabelFileError(f"a confidence must be a number, but got '{of_row}'")
        name = next((cell for at in names if (cell := _cell(cells, at))), "")
        name = _common_name(name) if body is rows else name
        if value >= min_confidence and name and name != NO_CALL:
            found.append(name)
    return FileLabels(tuple(found))


def _lines(path: Path) -> list[tuple[int, str]]:
    """The lines that are not empty, with their numbers."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise LabelFileError(f"it cannot be read as text in UTF-8 ({error})") from None
    return [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def _cell(cells: Sequence[str], at: int) -> str:
    return cells[at].strip() if at < len(cells) else ""


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _common_name(label: str) -> str:
    """Of "Turdus merula, Eurasian Blackbird" or "Turdus merula_Eurasian Blackbird"."""
    for between in ("_", ", "):
        if between in label:
            return label.split(between, 1)[1].strip() or label
    return label
