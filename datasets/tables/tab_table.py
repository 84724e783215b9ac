"""Reader of tables with tabs between their columns, as text.

`csv_table` reads those with commas.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chorale.datasets.errors import UserError
from chorale.datasets.tables.csv_table import require_columns

if TYPE_CHECKING:
    import pandas as pd


def read_tab_table(path: Path, *, dataset: str, required: Sequence[str]) -> "pd.DataFrame":
    """All columns as stripped text, "" where empty; cells may be in double quotes.

    Args:
        path: the file.
        dataset: the dataset's name, for errors.
        required: columns that must be there, each once.

    Raises:
        UserError: the file is missing or no such table, or lacks a column.
    """
    import pandas as pd

    try:
        table = pd.read_csv(
            path, sep="\t", dtype="str", header=None, keep_default_na=False, encoding="utf-8-sig"
        )
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        why = " ".join(str(error).split())
        raise UserError(
            f"dataset '{dataset}': '{path}' cannot be read as a table with tabs in UTF-8 ({why}); "
            f"get a complete copy of it"
        ) from None
    header = [str(name).strip() for name in table.iloc[0]]
    require_columns(path, header, required, dataset=dataset)
    table = table.iloc[1:].fillna("").reset_index(drop=True)
    for place in table.columns:
        table[place] = table[place].str.strip()
    table.columns = pd.Index(header)
    return table
