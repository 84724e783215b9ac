"""FMA's feature table: 518 librosa statistics of each untrimmed track.

The track table has the artist as group; the features are `stats518`. Files:

    fma_metadata/tracks.csv      106,574 rows under a header of two lines
    fma_metadata/features.csv    106,574 rows of 518 numbers under a header of three lines

Pitfalls: only 49,598 tracks have a top genre, in 16 genres; the others are left out and counted.
The numbers are of the untrimmed tracks, so tracks whose clips are cut wrong are usable here; and
all of them except those of cqt and mel were computed as if each track's sample rate was 22,050 Hz.
"""

import io
import logging
from collections.abc import Container, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from chorale.datasets.base import DatasetInfo
from chorale.datasets.config import config
from chorale.datasets.errors import UserError, join_first
from chorale.datasets.tables import fma_metadata
from chorale.datasets.tables.csv_table import (
    LOG,
    QUIET_LOG,
    find_table,
    parse_columns,
    read_csv_header,
    require_columns,
)
from chorale.datasets.tables.fma_metadata import Subset, fma_track_id
from chorale.datasets.tables.stats_names import STATS518

if TYPE_CHECKING:
    import pandas as pd

INFO = DatasetInfo(
    name="fma_features",
    title="Free Music Archive: 518 statistics of each track, 16 genres",
    licence="CC BY 4.0",
    citation=fma_metadata.FMA_CITATION,
    homepage=fma_metadata.HOMEPAGE,
    labels=fma_metadata.FMA_GENRES,
    n_tracks=fma_metadata.N_FMA_TRACKS,
    size="342 MiB zipped, 1.2 GB as CSV",
    checksums=fma_metadata.CHECKSUMS,
    downloads=(fma_metadata.DOWNLOAD,),
    features=("stats518",),
)

CHUNK_LINES = 2000  # 18 MB of text


@config
class Config:
    """Where the tables are, and which subset to use."""

    root: str
    """folder that contains fma_metadata, or that folder itself"""
    subset: Subset = "medium"
    """small: 8,000 tracks of 8 genres; medium: 25,000 of 16, for which figures are published;
    large or full: all that have a top genre"""


def tracks(config: Config) -> "pd.DataFrame":
    """One row per track with a top genre: its artist as group, the official split.

    Rows of the feature table that lack a number are left out and counted.

    Raises:
        UserError: one of the tables is missing, lacks a column or is damaged.
    """
    table, metadata = _Table.open(config), _metadata(config, log=LOG)
    numbers = [number for number, _ in table.lines(set(metadata.index))]
    return fma_metadata.fma_track_table(_found(metadata, numbers, table.path, log=LOG))


def features(config: Config) -> "dict[str, pd.DataFrame]":
    """`stats518`: the 518 columns of `STATS518`, indexed by `track_id`, one row for each track.

    Raises:
        UserError: as `tracks`, and if a cell is no finite number.
    """
    import pandas as pd

    table, metadata = _Table.open(config), _metadata(config, log=QUIET_LOG)
    place = {number: row for row, number in enumerate(metadata.index)}
    values = np.empty((len(metadata), len(STATS518)))
    numbers: list[int] = []
    lines = table.lines(place)
    while chunk := list(islice(lines, CHUNK_LINES)):
        values[[place[number] for number, _ in chunk]] = table.parse([line for _, line in chunk])
        numbers += [number for number, _ in chunk]
    found = _found(metadata, numbers, table.path, log=QUIET_LOG)
    if len(found) < len(metadata):
        values = values[metadata.index.isin(found.index)]
    ids = pd.Index([fma_track_id(number) for number in found.index], name="track_id", dtype="str")
    return {"stats518": pd.DataFrame(values, index=ids, columns=list(STATS518))}


def _metadata(config: Config, *, log: logging.Logger) -> "pd.DataFrame":
    return fma_metadata.read_metadata(config.root, subset=config.subset, dataset=INFO.name, log=log)


def _found(
    metadata: "pd.DataFrame", numbers: list[int], path: Path, *, log: logging.Logger
) -> "pd.DataFrame":
    """The rows of `metadata` whose track numbers were found in the feature table, once each."""
    import pandas as pd

    found = pd.Index(numbers, dtype="int64")
    twice = found[found.duplicated()]
    if len(twice):
        raise UserError(
            f"dataset 'fma_features': '{path}' has duplicate tracks: "
            f"{join_first(map(str, twice))}; get a complete copy of it"
        )
    missing = metadata.index.difference(found)
    if len(missing) == len(metadata):
        raise UserError(
            f"dataset 'fma_features': '{path}' has no complete row of any of the {len(metadata)} "
            f"requested tracks; get a complete copy of it"
        )
    if len(missing):
        log.warning(
            "fma_features: left out %d of %d tracks, whose row is missing or lacks numbers: %s",
            len(missing),
            len(metadata),
            join_first(fma_track_id(number) for number in missing),
        )
    return metadata.drop(missing)


class _Table:
    """The feature table, read line by line: most of its gigabyte are tracks without a genre."""

    def __init__(self, path: Path, header: Sequence[str]) -> None:
        self.path = path
        self.n_columns = len(header)
        self.column = {name: header.index(name) for name in STATS518}

    @classmethod
    def open(cls, config: Config) -> "_Table":
        """The table below `config.root`, checked to have all 518 columns."""
        places = ("fma_metadata/features.csv", "features.csv")
        path = find_table(config.root, places, dataset=INFO.name)
        lines = read_csv_header(path, dataset=INFO.name, n_lines=3)
        header = [
            f"{feature}_{statistic}_{row.zfill(2)}"
            for feature, statistic, row in zip(*lines, strict=False)
        ]
        require_columns(path, header, STATS518, dataset=INFO.name)
        return cls(path, header)

    def lines(self, wanted: Container[int]) -> Iterator[tuple[int, bytes]]:
        """Track number and line of each `wanted` row that has a number in every cell."""
        with self.path.open("rb") as opened:
            for line in opened:
                first = line[: line.find(b",")]
                if first.isdigit() and int(first) in wanted and self._is_complete(line.rstrip()):
                    yield int(first), line

    def _is_complete(self, line: bytes) -> bool:
        if line.count(b",") != self.n_columns - 1 or b",," in line or line.endswith(b","):
            return False
        return not (b"n" in line or b"N" in line) or b"nan" not in line.lower()

    def parse(self, lines: Sequence[bytes]) -> npt.NDArray[np.float64]:
        """The numbers of complete lines: `(n_lines, 518)`, in the order of `STATS518`."""
        import pandas as pd

        text = b"".join(lines)
        try:
            # about twice as fast as `parse_columns`, which reports cells that are no number
            cells = pd.read_csv(io.BytesIO(text), header=None, dtype="float64", na_filter=False)
        except ValueError:
            places = {0: "number"} | {place: name for name, place in self.column.items()}
            parse_columns(
                text,
                self.path,
                places=places,
                text=["number"],
                row_name="number",
                dataset=INFO.name,
            )
            raise
        values = cells.to_numpy()[:, [self.column[name] for name in STATS518]]
        finite = np.isfinite(values)
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            raise UserError(
                f"dataset 'fma_features': '{self.path}' has {values[row, column]} for "
                f"'{STATS518[column]}' of track {int(cells.iloc[row, 0])}; remove this row"
            )
        return np.asarray(values, dtype=np.float64)
