"""Cells with the official fold and the time of a track, in tables and manifests."""

import math
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from chorale.datasets.errors import UserError, join_first

T = TypeVar("T")

_FOLD = re.compile(r"(?:fold[ _-]?)?(\d{1,9})(?:\.0*)?", re.IGNORECASE)  # with gaps read as 1.0
_DATE = re.compile(r"\d{8}")
_MAX_TIME_S = datetime(9999, 1, 1, tzinfo=UTC).timestamp()


def read_fold(cell: str) -> int:
    """The number of a fold, 0 or more: 3, 3.0, fold3 or fold_3.

    Raises:
        ValueError: it is none.
    """
    match = _FOLD.fullmatch(cell)
    if match is None:
        raise ValueError(f"'{cell}' is no whole number from 0 on")
    return int(match[1])


def read_time(cell: str) -> float:
    """A time in seconds since 1970-01-01 UTC: a number of them, or ISO 8601 (UTC without a zone).

    Raises:
        ValueError: it is neither; the text says what it is.
    """
    if not _DATE.fullmatch(cell):
        try:
            number = float(cell)
        except ValueError:
            pass
        else:
            if not math.isfinite(number) or abs(number) > _MAX_TIME_S:
                raise ValueError(f"'{cell}' is no number of seconds (are they milliseconds?)")
            return number
    try:
        moment = datetime.fromisoformat(cell)
    except ValueError:
        raise ValueError(
            f"'{cell}' is neither ISO 8601, such as 2024-05-31T06:30:00, nor a number of seconds "
            f"since 1970"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def read_cells(
    cells: Iterable[str], read: Callable[[str], T], *, path: Path, column: str, dataset: str
) -> list[T | None]:
    """The values of a column; None where a cell is empty.

    Raises:
        UserError: lists the cells that cannot be read.
    """
    found: list[T | None] = []
    problems: list[str] = []
    for row, cell in enumerate(cells, 1):
        try:
            found.append(read(cell.strip()) if cell.strip() else None)
        except ValueError as error:
            problems.append(f"row {row}: {error}")
    if problems:
        raise UserError(
            f"dataset '{dataset}': the column '{column}' of '{path}' has {len(problems)} cells "
            f"that cannot be read: {join_first(problems)}; correct them, or leave them empty"
        )
    return found
