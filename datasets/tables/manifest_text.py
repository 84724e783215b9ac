"""The lines of a manifest file: its encoding, its separator, its cells with line numbers."""

import codecs
import csv
import io
from dataclasses import dataclass
from pathlib import Path

from chorale.datasets.errors import UserError

SEPARATORS = (",", ";", "\t", "|")

_NO_TEXT = {
    b"PK\x03\x04": "an Excel workbook or another zip",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"PAR1": "a Parquet file",
    b"SQLite": "a database",
}


@dataclass(frozen=True)
class ManifestLines:
    """The column names of a manifest, and its rows: line number in the file, and cells."""

    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    separator: str


def read_lines(manifest: Path, *, encoding: str | None) -> ManifestLines:
    """Reads a manifest with commas, semicolons, tabs or bars between its cells.

    Without an `encoding` it is UTF-8, or UTF-16 with a byte order mark. Empty lines are skipped;
    the separator is the one that gives the first line most cells.

    Raises:
        UserError: it is no text, has another encoding, or its quotation marks do not match.
    """
    text = _decode(manifest, encoding)
    lines = text.splitlines()
    n_skipped = 0
    if lines and lines[0].lower().startswith("sep="):  # Excel writes it for other separators
        separator, n_skipped = lines[0][4:5] or ",", 1
        text = text.split("\n", 1)[-1]
    else:
        separator = _separator(lines[0] if lines else "")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        rows = [(reader.line_num + n_skipped, tuple(cells)) for cells in reader if any(cells)]
    except csv.Error as error:
        raise UserError(
            f"manifest '{manifest}' is not a CSV file: line {reader.line_num + n_skipped}: "
            f"{error}; a cell with a quotation mark or the separator '{separator}' must be in "
            f"double quotes, with each inner one doubled"
        ) from None
    header = tuple(cell.strip() for cell in rows[0][1]) if rows else ()
    return ManifestLines(header, tuple(rows[1:]), separator)


def _separator(first: str) -> str:
    def n_cells(separator: str) -> int:
        return len(next(csv.reader([first], delimiter=separator), []))

    return max(SEPARATORS, key=n_cells)  # the first of equal ones


def _decode(manifest: Path, encoding: str | None) -> str:
    content = manifest.read_bytes()
    for start, what in _NO_TEXT.items():
        if content.startswith(start):
            raise UserError(
                f"manifest '{manifest}' is {what}, no text; save it as 'CSV UTF-8', and give that "
                f"file with --dataset.manifest FILE"
            )
    if encoding is not None:
        return _decode_as(manifest, content, encoding)
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return _decode_as(manifest, content, "utf-16")
    if b"\0" in content[:1000]:
        raise UserError(
            f"manifest '{manifest}' is no text in UTF-8; if it is UTF-16 without a byte order "
            f"mark, type --dataset.encoding utf-16-le, otherwise save it as 'CSV UTF-8'"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        number = before.count(b"\n") + 1
        line = content.split(b"\n")[number - 1].decode("cp1252", errors="replace").strip()
        raise UserError(
            f"manifest '{manifest}' is not in UTF-8 (line {number}, byte "
            f"0x{content[error.start]:02x}); save it as 'CSV UTF-8', or type --dataset.encoding "
            f"cp1252, if that line is right as '{line}'"
        ) from None


def _decode_as(manifest: Path, content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding).removeprefix("\ufeff")
    except (LookupError, UnicodeError) as error:
        raise UserError(
            f"manifest '{manifest}' cannot be read with the encoding '{encoding}' ({error}); type "
            f"another with --dataset.encoding, such as utf-8, utf-16 or cp1252, or save it as "
            f"'CSV UTF-8'"
        ) from None
