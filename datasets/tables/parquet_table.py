"""Parquet reader: columns of text and columns of numbers, as `csv_table` for CSV.

pyarrow is needed only for such files.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chorale.datasets.errors import UserError, join_first
from chorale.datasets.tables.csv_table import require_numbers

if TYPE_CHECKING:
    import pandas as pd

_MAGIC = b"PAR1"


def is_parquet(path: Path) -> bool:
    """Whether the file has the magic bytes of Parquet, whatever its name."""
    with path.open("rb") as opened:
        return opened.read(len(_MAGIC)) == _MAGIC


def read_parquet(path: Path, *, dataset: str, named: Sequence[str]) -> "pd.DataFrame":
    """All columns, with names as text; a saved index is one of them if it is in `named`.

    Raises:
        UserError: pyarrow is not installed, or the file is damaged.
    """
    import pandas as pd

    try:
        table = pd.read_parquet(path, engine="pyarrow")
    except ImportError:
        raise UserError(
            f"dataset '{dataset}': reading '{path}' takes pyarrow; type: "
            f"{sys.executable} -m pip install pyarrow, or save the table as CSV"
        ) from None
    except (OSError, ValueError) as error:
        why = " ".join(str(error).split())
        raise UserError(
            f"dataset '{dataset}': '{path}' cannot be read as a Parquet file ({why}); get it "
            f"again, or save it again with one name for each column"
        ) from None
    levels = [name for name in table.index.names if name in named]
    table = table.reset_index(level=levels) if levels else table
    table.columns = pd.Index([str(name) for name in table.columns])
    return table.reset_index(drop=True)


def text_and_numbers(
    table: "pd.DataFrame", path: Path, *, text: Sequence[str], dataset: str, fix: str
) -> "pd.DataFrame":
    """The columns `text` (str, "" where missing), then all others (float64).

    Args:
        table: the result of `read_parquet`.
        path: the file's name, for errors.
        text: names of the text columns.
        dataset: the dataset's name, for errors.
        fix: what to do about a column that is not numeric, for errors.

    Raises:
        UserError: a column is not numeric.
    """
    import pandas as pd

    words = pd.DataFrame({name: _as_text(table[name]) for name in text}, index=table.index)
    rest = table.drop(columns=list(text))
    others = [name for name in rest if not pd.api.types.is_numeric_dtype(rest[name].dtype)]
    if others:
        cells = rest[others].astype("object").astype("str").where(rest[others].notna())
        require_numbers(cells, path, dataset=dataset, fix=fix)
        raise UserError(
            f"dataset '{dataset}': '{path}' has numbers as text in the columns "
            f"{join_first(map(repr, others))}; save them as numbers, or {fix}"
        )
    values = rest.to_numpy(dtype="float64", na_value=float("nan"))
    return pd.concat([words, pd.DataFrame(values, table.index, rest.columns)], axis=1)


def _as_text(cells: "pd.Series[Any]") -> "pd.Series[str]":
    import pandas as pd

    if pd.api.types.is_float_dtype(cells.dtype) and (cells.dropna() % 1 == 0).all():
        cells = cells.astype("Int64")  # whole numbers with gaps: 3, not 3.0
    return cells.astype("object").astype("str").where(cells.notna(), "").str.strip()
