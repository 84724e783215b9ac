"""FMA metadata (`tracks.csv`): top genre, artist and official split of each track.

Both FMA datasets (audio, feature table) make their track tables here, so that names, groups and
splits are the same.
"""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from chorale.datasets.base import Download, track_table
from chorale.datasets.errors import UserError, join_first
from chorale.datasets.tables.csv_table import (
    LOG,
    find_table,
    parse_columns,
    read_csv_header,
    require_columns,
)

if TYPE_CHECKING:
    import pandas as pd

FMA_GENRES = (
    "Blues",
    "Classical",
    "Country",
    "Easy Listening",
    "Electronic",
    "Experimental",
    "Folk",
    "Hip-Hop",
    "Instrumental",
    "International",
    "Jazz",
    "Old-Time / Historic",
    "Pop",
    "Rock",
    "Soul-RnB",
    "Spoken",
)
N_FMA_TRACKS = 106_574
FMA_CITATION = (
    "M. Defferrard, K. Benzi, P. Vandergheynst, X. Bresson: FMA: A Dataset For Music Analysis, "
    "ISMIR, 2017, arXiv:1612.01840"
)
HOMEPAGE = "https://github.com/mdeff/fma"
ARCHIVE_URL = "https://os.unil.cloud.switch.ch/fma"
"""Base URL of the archives. Their SHA-1 sums are from the README at `HOMEPAGE` of 2017-05-09."""
DOWNLOAD = Download(
    f"{ARCHIVE_URL}/fma_metadata.zip",
    "fma_metadata.zip",
    unpack_to="fma_metadata",
    inside="fma_metadata",
)
CHECKSUMS = {"fma_metadata.zip": "sha1:f0df49ffe5f2a6008d7dc83c6915b31835dfe733"}

Subset = Literal["small", "medium", "large", "full"]
"""Each includes those before it; `large` and `full` are the same tracks, as clips and untrimmed."""
SUBSETS: tuple[Subset, ...] = ("small", "medium", "large", "full")

_SPLITS = {"training": "train", "validation": "valid", "test": "test"}
_COLUMNS = {
    "set.split": "split",
    "set.subset": "subset",
    "track.genre_top": "label",
    "artist.id": "artist",
}


def read_metadata(
    root: str, *, subset: Subset, dataset: str, log: logging.Logger = LOG
) -> "pd.DataFrame":
    """The tracks of `subset` that have a top genre; logs how many have none.

    Args:
        root: the folder that contains `fma_metadata/tracks.csv` or `tracks.csv`.
        subset: the largest subset to include.
        dataset: the dataset's name, for errors and logs.
        log: where the counts are logged.

    Returns:
        indexed by FMA's track number (int64), with the columns `split` ("train", "valid",
        "test"), `label` and `group`, all str.

    Raises:
        UserError: the file is missing, lacks a column, is damaged, or has no such track.
    """
    import pandas as pd

    path = find_table(root, ("fma_metadata/tracks.csv", "tracks.csv"), dataset=dataset)
    upper, lower = read_csv_header(path, dataset=dataset, n_lines=2)
    header = [f"{a}.{b}" for a, b in zip(upper, lower, strict=False)]
    require_columns(path, header, _COLUMNS, dataset=dataset)
    places = {0: "number"} | {header.index(name): short for name, short in _COLUMNS.items()}
    table = parse_columns(
        path, path, places=places, text=list(places.values()), n_skipped=2, dataset=dataset
    )
    table = table[table["number"] != "track_id"]  # a third header line, with the index's name
    odd = table["number"][~table["number"].str.fullmatch(r"[0-9]{1,6}")]
    odd = pd.concat([odd, table["number"][table["number"].duplicated()]])
    if len(odd):
        raise UserError(
            f"dataset '{dataset}': '{path}' has {len(odd)} rows whose track number is invalid or "
            f"duplicated: {join_first(repr(cell) for cell in odd)}; get a complete copy of it"
        )
    _refuse_unknown(path.name, table["split"], _SPLITS, dataset=dataset)
    _refuse_unknown(path.name, table["subset"], dict.fromkeys(["", *SUBSETS]), dataset=dataset)
    table = table.set_index(table["number"].astype("int64"))
    rank = table["subset"].map({name: i for i, name in enumerate(SUBSETS)}).fillna(len(SUBSETS))
    table = table[(rank <= SUBSETS.index(subset)) | (subset == "full")]
    labelled = table["label"] != ""
    if not labelled.any():
        raise UserError(
            f"dataset '{dataset}': '{path}' has no track of the subset '{subset}' with a top "
            f"genre; get a complete copy of it, or type --dataset.subset full"
        )
    if n_dropped := int((~labelled).sum()):
        log.info("%s: left out %d of %d tracks: no top genre", dataset, n_dropped, len(table))
    table = table[labelled]
    artist = "artist-" + table["artist"]
    alone = "track-" + table["number"]
    return pd.DataFrame(
        {
            "split": table["split"].map(_SPLITS),
            "label": table["label"],
            "group": artist.where(table["artist"] != "", alone),
        }
    ).sort_index()


def fma_track_table(
    metadata: "pd.DataFrame", paths: Mapping[int, str] | None = None
) -> "pd.DataFrame":
    """The track table of the rows of `metadata`; `track_id` is the number with six digits.

    `paths` maps each track number to its file, where there is audio.
    """
    return track_table(
        {
            "track_id": fma_track_id(number),
            "path": paths[number] if paths is not None else None,
            "label": label,
            "group": group,
            "split": split,
        }
        for number, split, label, group in metadata.itertuples(name=None)
    )


def fma_track_id(number: int) -> str:
    """FMA's track number as in its file names: 2 -> `000002`."""
    return f"{number:06d}"


def _refuse_unknown(
    file: str, cells: "pd.Series[str]", known: Mapping[str, object], *, dataset: str
) -> None:
    unknown = cells[~cells.isin(list(known))].unique()
    if len(unknown):
        raise UserError(
            f"dataset '{dataset}': the column '{cells.name}' of {file} has "
            f"{join_first(repr(cell) for cell in unknown)}; allowed: "
            f"{', '.join(filter(None, known))}; get a complete copy of it"
        )
