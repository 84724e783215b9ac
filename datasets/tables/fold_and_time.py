"""Columns of a table with the official fold and the time of each row."""

import math
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from chorale.datasets.errors import UserError, join_first

T = TypeVar("T")

_FOLD = re.compile(r"(\d+)(?:\.0*)?")  # a column with gaps is read as 1.0, 2.0
_DATE = re.compile(r"\d{8}")


def read_fold(cell: str) -> int:
    """The number of a fold, 0 or more.

    Raises:
        ValueError: it is none.
    """
    match = _FOLD.fullmatch(cell)
    if match is None:
        raise ValueError(f"'{cell}' is no number of a fold, such as 0")
    return int(match[1])


def read_time(cell: str) -> float:
    """A time in seconds since 1970-01-01 UTC: a number of them, or ISO 8601 (UTC without a zone).

    Raises:
        ValueError: it is neither.
    """
    if not _DATE.fullmatch(cell):
        try:
            number = float(cell)
        except ValueError:
            pass
        else:
            if math.isfinite(number):
                return number
    try:
        moment = datetime.fromisoformat(cell)
    except ValueError:
        raise ValueError(
            f"'{cell}' is neither ISO 8601, such as 2024-05-31T06:30:00, nor a number of seconds"
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
