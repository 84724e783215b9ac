"""CSV reader: named columns of a CSV file in any order, with clear errors.

The datasets that have a table read it here.
"""

import csv
import difflib
import io
import itertools
import logging
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chorale.datasets.base import existing_folder
from chorale.datasets.errors import UserError, join_first

if TYPE_CHECKING:
    import pandas as pd

MISSING_CELLS = (
    "",
    "NA",
    "N/A",
    "n/a",
    "#N/A",
    "NaN",
    "nan",
    "-nan",
    "NULL",
    "null",
    "None",
    "<NA>",
)
"""Missing values in a column of numbers; in a column of text they are ordinary text."""

FIX = "fix them (a number has a decimal point, not a comma), or leave them empty"
GET_FULL_COPY = "Get a complete copy of it, with its header and commas between the columns"

LOG = logging.getLogger("chorale")
QUIET_LOG = logging.Logger("quiet", logging.CRITICAL + 1)
"""Used where a table is read a second time, so that nothing is logged twice."""

_HEADER_CHARACTERS = 2**22  # far more than the header of the widest table
_OTHER_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}


def find_table(root: str, places: Sequence[str], *, dataset: str) -> Path:
    """The path of the table: `root` if it is a file, otherwise the first of `places` below it.

    Raises:
        UserError: there is none.
    """
    path = Path(root).expanduser()
    if path.is_file():
        return path
    folder = existing_folder(root, dataset=dataset)
    for place in places:
        if (folder / place).is_file():
            return folder / place
    raise UserError(
        f"dataset '{dataset}': there is no {' or '.join(places)} in '{folder}'; give the folder "
        f"that contains it with --dataset.root FOLDER"
    )


def read_csv_header(path: Path, *, dataset: str, n_lines: int = 1) -> list[list[str]]:
    """The cells of the first `n_lines` lines, stripped.

    Raises:
        UserError: the file has fewer lines, or is no CSV in UTF-8.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as opened:
            text = opened.read(_HEADER_CHARACTERS)
        if text.startswith("version https://git-lfs"):
            raise UserError(
                f"dataset '{dataset}': '{path}' is only a pointer to the file in Git LFS; "
                f"type git lfs pull in its folder"
            )
        lines = list(itertools.islice(csv.reader(io.StringIO(text, newline="")), n_lines))
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise _unreadable(path, error, dataset=dataset) from None
    if len(lines) < n_lines or not lines[0]:
        raise UserError(
            f"dataset '{dataset}': '{path}' has no header of {n_lines} lines; get a complete copy"
        )
    return [[cell.strip() for cell in line] for line in lines]


def read_columns(
    path: Path,
    *,
    dataset: str,
    text: Sequence[str] = (),
    numbers: Sequence[str] = (),
    row_name: str | None = None,
    fix: str = FIX,
) -> "pd.DataFrame":
    """The columns `text` (str, "" where empty) and then `numbers` (float64, NaN where missing).

    A byte order mark, Windows line ends, other columns and any order of columns are allowed.

    Args:
        path: the file.
        dataset: the dataset's name, for errors.
        text: names of text columns, as in the header.
        numbers: names of numeric columns.
        row_name: text column that names a row in an error, instead of its number.
        fix: what to do about a cell that is no number, for errors.

    Raises:
        UserError: a column is missing or duplicated, a cell is no number, or it is no CSV.
    """
    header = read_csv_header(path, dataset=dataset)[0]
    require_columns(path, header, [*text, *numbers], dataset=dataset)
    wanted = {header.index(name): name for name in (*text, *numbers)}
    # the others are read too, because only then a row with too many cells is detected
    others = {i: f"\0{i}" for i in range(len(header)) if i not in wanted}
    table = parse_columns(
        path,
        path,
        places=wanted | others,
        text=[*text, *others.values()],
        n_skipped=1,
        dataset=dataset,
        row_name=row_name,
        fix=fix,
    )
    return table[[*text, *numbers]]


def parse_columns(
    source: Path | bytes,
    path: Path,
    *,
    places: Mapping[int, str],
    text: Sequence[str],
    dataset: str,
    n_skipped: int = 0,
    row_name: str | None = None,
    fix: str = FIX,
) -> "pd.DataFrame":
    """Reads columns by position: those of `text` as str, the others as float64.

    If all positions from 0 on are given, a row with more cells raises.

    Args:
        source: the file, or some complete lines of it.
        path: the file's name, for errors.
        places: position 0, 1, ... from the left -> the column's name.
        text: names of the text columns.
        dataset: the dataset's name, for errors.
        n_skipped: number of header lines.
        row_name: text column that names a row in an error, instead of its number.
        fix: what to do about a cell that is no number, for errors.

    Raises:
        UserError: a cell is no number, or it is no CSV.
    """
    import pandas as pd

    names = [places[place] for place in sorted(places)]
    numbers = [name for name in names if name not in text]
    all_columns = sorted(places) == list(range(len(places)))

    def read(number_dtype: str) -> "pd.DataFrame":
        return pd.read_csv(
            source if isinstance(source, Path) else io.BytesIO(source),
            header=None,
            skiprows=n_skipped,
            names=names,
            usecols=None if all_columns else sorted(places),
            index_col=False,
            dtype={name: "str" if name in text else number_dtype for name in names},
            keep_default_na=False,
            na_values={name: list(MISSING_CELLS) for name in numbers},
            skipinitialspace=True,
            encoding="utf-8-sig",
        )

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            try:
                table = read("float64")
            except UnicodeDecodeError:
                raise
            except ValueError:  # a cell is no number, but pandas does not report which
                cells = read("str")
                rows = None if row_name is None else cells[row_name]
                require_numbers(cells[numbers], path, rows=rows, dataset=dataset, fix=fix)
                raise
    except (
        UnicodeDecodeError,
        pd.errors.ParserError,
        pd.errors.ParserWarning,
        pd.errors.EmptyDataError,
        OSError,
    ) as error:
        raise _unreadable(path, error, dataset=dataset) from None
    for name in text:
        table[name] = table[name].fillna("").str.strip()
    return table


def require_columns(
    path: Path,
    got: Sequence[str],
    wanted: Iterable[str],
    *,
    dataset: str,
    fix: str = GET_FULL_COPY,
) -> None:
    """Checks that each of the columns `wanted` is in the file exactly once.

    `fix` is what to do if one is missing, for the error.

    Raises:
        UserError: lists the missing columns with the nearest names, and the existing ones.
    """
    wanted = list(wanted)
    twice = [f"'{name}'" for name in wanted if list(got).count(name) > 1]
    if twice:
        raise UserError(
            f"dataset '{dataset}': '{path}' has two columns of the name {join_first(twice)}; "
            f"remove or rename one of them"
        )
    missing = [name for name in wanted if name not in got]
    if not missing:
        return
    named = [f"'{name}'{_nearest(name, got, wanted)}" for name in missing]
    count = "the column" if len(missing) == 1 else f"{len(missing)} columns:"
    raise UserError(
        f"dataset '{dataset}': '{path}' lacks {count} {join_first(named)}; it has {len(got)}: "
        f"{join_first(repr(name) for name in got)}. {_other_delimiter(got) or fix}"
    )


def require_numbers(
    cells: "pd.DataFrame",
    path: Path,
    *,
    dataset: str,
    rows: "pd.Series[str] | None" = None,
    fix: str = FIX,
) -> None:
    """Checks that each of the text cells is a number or missing; `rows` has the rows' names.

    Raises:
        UserError: lists the first cell in each column that is no number.
    """
    import pandas as pd

    bad = []
    for name in cells:
        word = cells[name].notna() & pd.to_numeric(cells[name], errors="coerce").isna()
        if word.any():
            row = int(word.to_numpy().argmax())
            where = f"in row {row + 1}" if rows is None else f"at '{rows.iloc[row]}'"
            bad.append(f"'{name}' has '{cells[name].iloc[row]}' {where}")
    if bad:
        raise UserError(
            f"dataset '{dataset}': '{path}' has cells that are no numbers: {join_first(bad)}; {fix}"
        )


def _nearest(name: str, got: Sequence[str], wanted: Sequence[str]) -> str:
    free = [other for other in got if other not in wanted]
    near = difflib.get_close_matches(name, free, n=1, cutoff=0.6)
    return f" (nearest: '{near[0]}')" if near else ""


def _other_delimiter(got: Sequence[str]) -> str:
    marks = [mark for mark in _OTHER_DELIMITERS if len(got) == 1 and mark in got[0]]
    if not marks:
        return ""
    return f"Its columns are separated by {_OTHER_DELIMITERS[marks[0]]}: save it with commas"


def _unreadable(path: Path, error: Exception, *, dataset: str) -> UserError:
    why = " ".join(str(error).split())
    return UserError(
        f"dataset '{dataset}': '{path}' cannot be read as a CSV file in UTF-8 ({why}); "
        f"get a complete copy of it, or save it again as 'CSV UTF-8' with commas"
    )
