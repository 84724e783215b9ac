"""The user's own table of numbers: a CSV or Parquet file with a label in each row.

The features are `table`. Layout: one row per track, or several rows with one id, which are the
segments of one track in their order; a column with the label, optional columns with id, group,
split, fold and time; every other column is a feature.

Pitfalls: a column that encodes the label would be used as a feature, so name it in `drop`; a saved
row number is such a column if the rows are sorted by label, so columns without a name are left out.
Where a cell of the labels has a `;`, the table is multi-label: a row has several labels. A column
of labels of which it is not known whether a row has them makes it multi-label, too.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from chorale.datasets.base import SPLITS, DatasetInfo, track_table
from chorale.datasets.config import NameList, config
from chorale.datasets.errors import UserError, join_first
from chorale.datasets.label_sets import LABEL_SEPARATOR, is_multi_label, sorted_labels
from chorale.datasets.tables.csv_table import (
    LOG,
    QUIET_LOG,
    read_columns,
    read_csv_header,
    require_columns,
)
from chorale.datasets.tables.fold_and_time import read_cells, read_fold, read_time
from chorale.datasets.tables.manifest_labels import MULTI_LABEL_COLUMN
from chorale.datasets.tables.parquet_table import is_parquet, read_parquet, text_and_numbers
from chorale.datasets.tables.unknown_labels import unknown_problems

if TYPE_CHECKING:
    import pandas as pd

INFO = DatasetInfo(
    name="table",
    title="A CSV or Parquet table of numbers with a label column",
    licence="that of your own data",
    citation="your own data",
    homepage="your own data",
    how_to_get="it is your own table: give its file with --dataset.root FILE",
    features=("table",),
)

_FIX = (
    "fix them (a number has a decimal point, not a comma), leave them empty, or leave the column "
    "out with --dataset.drop '[COLUMN, ...]'"
)


ROLES = ("label", "id", "group", "split", "fold", "time", "unknown")
"""What a column can be besides a feature: keys of the config, each with the name of a column."""


@config
class Config:
    """Where the table is, and what its columns are."""

    root: str
    """the CSV or Parquet file"""
    label: str = "label"
    """column with the class; where any of its cells has semicolons, a row has several labels,
    separated by them"""
    id: str | None = None
    """column with the track's id; rows with the same id are segments of one track; without it each
    row is a track"""
    group: str | None = None
    """column with the group, which must not be on two sides of a split; without it each track is
    its own group"""
    split: str | None = None
    """column with the official split: train, valid or test"""
    fold: str | None = None
    """column with the official folds, 0, 1, ..., which are used as they are"""
    time: str | None = None
    """column with the time, for split.time: seconds, or ISO 8601 such as 2024-05-31T06:30:00"""
    unknown: str | None = None
    """column with labels, separated by semicolons, of which it is not known whether the row has
    them: they are neither trained on nor scored; the row does not have the others"""
    drop: NameList = ()
    """columns that are no features"""
    max_nan_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    """rows that lack a number or a label are left out; a larger share of them is an error"""

    @property
    def named(self) -> dict[str, str]:
        """Role -> column, for the roles that have one."""
        every = {role: getattr(self, role) for role in ROLES}
        return {what: column for what, column in every.items() if column is not None}

    def __post_init__(self) -> None:
        every = [*self.named.values(), *self.drop]
        twice = sorted({name for name in every if every.count(name) > 1})
        if twice:
            raise ValueError(
                f"{', '.join(ROLES)} and drop must name different columns, but {twice} "
                f"is named twice"
            )


def tracks(config: Config) -> "pd.DataFrame":
    """One row per track: its id (otherwise its row number), label, group, split, fold and time.

    Raises:
        UserError: the file is missing or no table, a column is missing, duplicated or not numeric,
            a number is infinite, too many rows lack one, or the rows of one track differ.
    """
    about, _ = _read(config, log=LOG)
    columns = ["track_id", "label", "group", "split", "fold", "time", "unknown"]
    rows = about.drop_duplicates("track_id")[columns].itertuples(index=False, name=None)
    return track_table(dict(zip(columns, row, strict=True)) for row in rows)


def features(config: Config) -> "dict[str, pd.DataFrame]":
    """`table`: every column without a role that is not dropped, in the file's order.

    Indexed by `track_id`, one row per segment of a track.

    Raises:
        UserError: as `tracks`.
    """
    import pandas as pd

    about, numbers = _read(config, log=QUIET_LOG)
    numbers.index = pd.Index(about["track_id"])
    return {"table": numbers.sort_index(kind="stable")}


def _read(config: Config, *, log: logging.Logger) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """Id, label, group, split, fold, time and unknown labels of each usable row; its features."""
    path = Path(config.root).expanduser()
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise UserError(
            f"dataset 'table': '{path}' {what}; give a CSV or Parquet file with --dataset.root FILE"
        )
    text = list(config.named.values())
    if is_parquet(path):
        table = read_parquet(path, dataset=INFO.name, named=[*text, *config.drop])
        _refuse_missing(path, list(table.columns), config)
        table = table.drop(columns=list(config.drop))
        table = text_and_numbers(table, path, text=text, dataset=INFO.name, fix=_FIX)
    else:
        table = _read_csv(path, config, log=log)
    table[config.label] = _label_sets(table[config.label], config, log)
    unlabelled = table[config.label] == ""
    if config.unknown is not None:
        table[config.unknown] = table[config.unknown].map(sorted_labels)
        if n_unknown := int((table[config.unknown] != "").sum()):
            text_of = "table: %d of %d rows have unknown labels, so that it is multi-label"
            log.warning(text_of, n_unknown, len(table))
        unlabelled &= table[config.unknown] == ""
    numbers = table.drop(columns=text)
    if numbers.columns.empty:
        raise UserError(
            f"dataset 'table': '{path}' has no feature: all of its columns are "
            f"{', '.join(ROLES)} or dropped; give a table with numbers, or drop fewer columns"
        )
    infinite = np.isinf(numbers.to_numpy())
    if infinite.any():
        where = zip(numbers.columns, infinite.T, strict=True)
        bad = [f"'{name}' in row {cells.argmax() + 1}" for name, cells in where if cells.any()]
        raise UserError(
            f"dataset 'table': '{path}' has infinite numbers: {join_first(bad)}; {_FIX}"
        )
    lacks = (numbers.isna().any(axis=1) | unlabelled).to_numpy(dtype=bool)
    _refuse_gaps(path, numbers, lacks, config)
    if n_lacking := int(lacks.sum()):
        log.warning(
            "table: left out %d of %d rows: no label, or a number missing", n_lacking, len(lacks)
        )
    return _about(path, table.loc[~lacks], config), numbers.loc[~lacks]


def _label_sets(cells: "pd.Series[str]", config: Config, log: logging.Logger) -> "pd.Series[str]":
    """The texts of the track table; cells with several labels are sorted, each label once."""
    if is_multi_label(cells):
        n_several = int(cells.str.contains(LABEL_SEPARATOR, regex=False).sum())
        log.warning(
            "table: %d of %d rows have several labels, separated by semicolons, so that it is "
            "multi-label",
            n_several,
            len(cells),
        )
        return cells.map(sorted_labels)
    several = cells[cells.str.contains("[,|]")]
    if config.label.lower() == MULTI_LABEL_COLUMN and len(several):
        log.warning(
            "table: %d cells of '%s' such as '%s' are one label each; if they are several, "
            "separate them by semicolons",
            len(several),
            config.label,
            several.iloc[0],
        )
    return cells


def _read_csv(path: Path, config: Config, *, log: logging.Logger) -> "pd.DataFrame":
    header = read_csv_header(path, dataset=INFO.name)[0]
    text = list(config.named.values())
    _refuse_missing(path, header, config)
    if "" in header:
        log.warning("table: left out a column without a name, as a saved row number has")
    numbers = [name for name in header if name not in ("", *text, *config.drop)]
    return read_columns(path, dataset=INFO.name, text=text, numbers=numbers, fix=_FIX)


def _refuse_missing(path: Path, header: list[str], config: Config) -> None:
    fix = f"Name the right columns with --dataset.{', '.join(ROLES)} and drop"
    wanted = [*config.named.values(), *config.drop]
    require_columns(path, header, wanted, dataset=INFO.name, fix=fix)


def _refuse_gaps(
    path: Path, numbers: "pd.DataFrame", lacks: npt.NDArray[np.bool_], config: Config
) -> None:
    n_lacking, n_rows = int(lacks.sum()), len(lacks)
    if n_rows and n_lacking / n_rows <= config.max_nan_share and n_lacking < n_rows:
        return
    if not n_rows:
        raise UserError(f"dataset 'table': '{path}' has no rows below its header; fill it")
    gaps = numbers.isna().mean().sort_values(ascending=False)
    worst = [f"'{name}' ({share:.0%})" for name, share in gaps.items() if share > 0]
    raise UserError(
        f"dataset 'table': {n_lacking} of the {n_rows} rows of '{path}' lack a number or a label, "
        f"and at most {config.max_nan_share:.0%} may; columns with most gaps: "
        f"{join_first(worst) or 'only the label'}; leave such columns out with --dataset.drop, "
        f"fill them, or raise --dataset.max_nan_share"
    )


def _about(path: Path, table: "pd.DataFrame", config: Config) -> "pd.DataFrame":
    """`track_id`, `label`, `group`, `split`, `fold`, `time` and `unknown` of each row."""
    import pandas as pd

    rows = pd.Series([f"row-{row + 1:07d}" for row in table.index], table.index, dtype="str")
    about = pd.DataFrame({"track_id": table[config.id] if config.id else rows})
    about["label"] = table[config.label]
    about["group"] = about["track_id"]
    if config.group is not None:
        about["group"] = table[config.group].where(table[config.group] != "", about["track_id"])
    about["split"] = table[config.split] if config.split else None
    where: dict[str, Any] = {"path": path, "dataset": INFO.name}
    about["fold"], about["time"] = None, None
    if config.fold is not None:
        about["fold"] = read_cells(table[config.fold], read_fold, column=config.fold, **where)
    if config.time is not None:
        about["time"] = read_cells(table[config.time], read_time, column=config.time, **where)
    about["unknown"] = "" if config.unknown is None else table[config.unknown]
    _refuse_nameless(path, about, config)
    _refuse_bad_unknown(path, about)
    _refuse_other_splits(path, about, config)
    _refuse_torn_tracks(path, about)
    return about


def _refuse_nameless(path: Path, about: "pd.DataFrame", config: Config) -> None:
    n_nameless = int((about["track_id"] == "").sum())
    if n_nameless:
        raise UserError(
            f"dataset 'table': {n_nameless} rows of '{path}' have no value in the column "
            f"'{config.id}', which is the track id; fill it, or leave --dataset.id out"
        )


def _refuse_bad_unknown(path: Path, about: "pd.DataFrame") -> None:
    if not (about["unknown"] != "").any():
        return
    cells = zip(about.index, about["label"], about["unknown"], strict=True)
    rows = ((f"row {at + 1}", label, hidden) for at, label, hidden in cells)
    if problems := "\n  ".join(unknown_problems(rows)):
        raise UserError(f"dataset 'table': '{path}' must be fixed:\n  {problems}")


def _refuse_other_splits(path: Path, about: "pd.DataFrame", config: Config) -> None:
    other = about.loc[~about["split"].isin(SPLITS), "split"].unique()
    if config.split is not None and len(other):
        raise UserError(
            f"dataset 'table': the column '{config.split}' of '{path}' has "
            f"{join_first(repr(cell) for cell in other)}; each row must have one of "
            f"{', '.join(SPLITS)}"
        )


def _refuse_torn_tracks(path: Path, about: "pd.DataFrame") -> None:
    """The rows of one track must have one label, group, split, fold and time."""
    columns = ["label", "group", "split", "fold", "time", "unknown"]
    n_kinds = about.groupby("track_id")[columns].nunique(dropna=False)
    torn = n_kinds.loc[(n_kinds > 1).any(axis=1)]
    if len(torn):
        what = ", ".join(str(column) for column in torn if (torn[column] > 1).any())
        raise UserError(
            f"dataset 'table': {len(torn)} tracks of '{path}' have rows that differ in their "
            f"{what}: {join_first(map(str, torn.index))}; correct them, or leave --dataset.id out"
        )
