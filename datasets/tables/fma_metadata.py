"""What FMA's `tracks.csv` says of a track: its top genre, its artist and its place in the split.

The two FMA datasets (audio, feature table) make their track tables here, so that they name, group
and split the same tracks in the same way.
"""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from chorale.datasets.base import Download, track_table
from chorale.datasets.errors import UserError, shown
from chorale.datasets.tables.csv_table import LOG, find_table, parse, read_header, refuse_missing

if TYPE_CHECKING:
    import pandas as pd

GENRES = (
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
N_TRACKS = 106_574
CITATION = (
    "M. Defferrard, K. Benzi, P. Vandergheynst, X. Bresson: FMA: A Dataset For Music Analysis, "
    "ISMIR, 2017, arXiv:1612.01840"
)
HOMEPAGE = "https://github.com/mdeff/fma"
FILES = "https://os.unil.cloud.switch.ch/fma"
"""Where the archives are. Their SHA-1 sums are those of 2017-05-09 in the README at `HOMEPAGE`."""
DOWNLOAD = Download(
    f"{FILES}/fma_metadata.zip",
    "fma_metadata.zip",
    unpack_to="fma_metadata",
    inside="fma_metadata",
)
CHECKSUMS = {"fma_metadata.zip": "sha1:f0df49ffe5f2a6008d7dc83c6915b31835dfe733"}

Subset = Literal["small", "medium", "large", "full"]
"""Each holds those before it; `large` and `full` are the same tracks, as clips and as a whole."""
SUBSETS: tuple[Subset, ...] = ("small", "medium", "large", "full")

SPLITS = {"training": "train", "validation": "valid", "test": "test"}
COLUMNS = {
    "set.split": "split",
    "set.subset": "subset",
    "track.genre_top": "label",
    "artist.id": "artist",
}


def read_metadata(
    root: str, *, subset: Subset, dataset: str, log: logging.Logger = LOG
) -> "pd.DataFrame":
    """The tracks of `subset` that have a top genre; how many have none is logged.

    Args:
        root: the folder that holds `fma_metadata/tracks.csv` or `tracks.csv`.
        subset: the largest subset to take.
        dataset: whose tracks they are, in the user's words.
        log: where the counts are said.

    Returns:
        indexed by FMA's track number (int64), with the columns `split` ("train", "valid",
        "test"), `label` and `group`, all str.

    Raises:
        UserError: the file is not there, lacks a column, is damaged, or has no such track.
    """
    import pandas as pd

    path = find_table(root, ("fma_metadata/tracks.csv", "tracks.csv"), dataset=dataset)
    upper, lower = read_header(path, dataset=dataset, n_lines=2)
    header = [f"{a}.{b}" for a, b in zip(upper, lower, strict=False)]
    refuse_missing(path, header, COLUMNS, dataset=dataset)
    places = {0: "number"} | {header.index(name): short for name, short in COLUMNS.items()}
    table = parse(
        path, path, places=places, text=list(places.values()), n_skipped=2, dataset=dataset
    )
    table = table[table["number"] != "track_id"]  # a third header line, with the index's name
    odd = table["number"][~table["number"].str.fullmatch(r"[0-9]{1,6}")]
    odd = pd.concat([odd, table["number"][table["number"].duplicated()]])
    if len(odd):
        raise UserError(
            f"dataset '{dataset}': '{path}' has {len(odd)} rows whose track number is none or is "
            f"there twice: {shown(repr(cell) for cell in odd)}; get a whole copy of it"
        )
    _refuse_unknown(path.name, table["split"], SPLITS, dataset=dataset)
    _refuse_unknown(path.name, table["subset"], dict.fromkeys(["", *SUBSETS]), dataset=dataset)
    table = table.set_index(table["number"].astype("int64"))
    rank = table["subset"].map({name: i for i, name in enumerate(SUBSETS)}).fillna(len(SUBSETS))
    table = table[(rank <= SUBSETS.index(subset)) | (subset == "full")]
    labelled = table["label"] != ""
    if not labelled.any():
        raise UserError(
            f"dataset '{dataset}': '{path}' has no track of the subset '{subset}' with a top "
            f"genre; get a whole copy of it, or type --dataset.subset full"
        )
    if n_dropped := int((~labelled).sum()):
        log.info("%s: left out %d of %d tracks: no top genre", dataset, n_dropped, len(table))
    table = table[labelled]
    artist = "artist-" + table["artist"]
    alone = "track-" + table["number"]
    return pd.DataFrame(
        {
            "split": table["split"].map(SPLITS),
            "label": table["label"],
            "group": artist.where(table["artist"] != "", alone),
        }
    ).sort_index()


def make_tracks(metadata: "pd.DataFrame", paths: Mapping[int, str] | None = None) -> "pd.DataFrame":
    """The track table of the rows of `metadata`; `track_id` is the number with six digits.

    `paths` gives each track number its file, where there is audio.
    """
    return track_table(
        {
            "track_id": track_id(number),
            "path": paths[number] if paths is not None else None,
            "label": label,
            "group": group,
            "split": split,
        }
        for number, split, label, group in metadata.itertuples(name=None)
    )


def track_id(number: int) -> str:
    """FMA's track number as its files are named: 2 -> `000002`."""
    return f"{number:06d}"


def _refuse_unknown(
    file: str, cells: "pd.Series[str]", known: Mapping[str, object], *, dataset: str
) -> None:
    unknown = cells[~cells.isin(list(known))].unique()
    if len(unknown):
        raise UserError(
            f"dataset '{dataset}': the column '{cells.name}' of {file} has "
            f"{shown(repr(cell) for cell in unknown)}; allowed: {', '.join(filter(None, known))}; "
            f"get a whole copy of it"
        )
