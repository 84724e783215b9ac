"""The words that all of `datasets` speaks: the track table, DatasetInfo and the Dataset protocol.

A dataset file turns something on disk into a track table; everything downstream reads only that.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from datasets.errors import UserError

TRACK_COLUMNS = ("track_id", "path", "label", "group", "split", "fold", "duration_s")
"""One row a track. `group` is what must not stand on two sides of a split (artist, speaker,
recording); `split` ("train", "valid", "test") and `fold` (0, 1, ...) are official ones or missing;
`path` and `duration_s` (seconds) are missing where there is no audio or nobody has measured."""


@dataclass(frozen=True)
class DatasetInfo:
    """What a person should know of a dataset before using it.

    `labels` is empty where they depend on the data, `n_tracks` is None likewise. `checksums` maps a
    file name to its SHA-256.
    """

    name: str
    title: str
    licence: str
    citation: str
    homepage: str
    labels: tuple[str, ...] = ()
    n_tracks: int | None = None
    size: str = ""
    checksums: Mapping[str, str] = field(default_factory=dict)


class Dataset(Protocol):
    """What a file in `datasets/catalog` offers: `INFO`, a frozen `Config`, and `tracks`."""

    INFO: DatasetInfo
    Config: type[Any]

    def tracks(self, config: Any) -> pd.DataFrame:
        """The track table of the dataset that `config` describes (see `TRACK_COLUMNS`).

        Raises:
            UserError: what `config` names is not there or is not this dataset.
        """
        ...


def track_table(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Makes a track table from rows that give at least `track_id`, `label` and `group`.

    The rows are sorted by `track_id`, so that the same data gives the same table on every machine.

    Raises:
        UserError: two rows have the same `track_id`.
    """
    table = pd.DataFrame(list(rows), columns=list(TRACK_COLUMNS)).astype(
        {
            "track_id": "str",
            "path": "str",
            "label": "str",
            "group": "str",
            "split": "str",
            "fold": "Int64",
            "duration_s": "float64",
        }
    )
    twice = table["track_id"][table["track_id"].duplicated()]
    if len(twice):
        raise UserError(
            f"track_id '{twice.iloc[0]}' stands for two tracks; track ids must be unique: "
            f"rename one of the two files, or its row in the manifest"
        )
    return table.sort_values("track_id", ignore_index=True)


def existing_folder(root: str | Path, *, dataset: str) -> Path:
    """`root` as a path, when it is a folder.

    Raises:
        UserError: it does not exist or is a file.
    """
    folder = Path(root).expanduser()
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise UserError(
            f"dataset '{dataset}': the folder '{folder}' {what}; "
            f"give the right one with --dataset.root FOLDER"
        )
    return folder
