"""GTZAN's feature tables: 57 librosa statistics of each 30-s clip, or of each 3-s segment.

The track table has the artist as group; the features are `stats57`. Files:

    features_30_sec.csv   1,000 rows, one per clip: blues.00000.wav
    features_3_sec.csv    9,990 rows, ten per clip: blues.00000.0.wav

Pitfalls: a row of the 3-s table is no track, as nine others are of the same clip: here they are the
ten segments of one track. `length` is the clip's number of samples and no musical feature. Copies
have other orders of columns, lack some, or have folders in their file names. The 3-s table has no
row of `jazz.00054`, whose wav cannot be decoded; the 30-s table has one.
"""

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from chorale.datasets.base import DatasetInfo
from chorale.datasets.config import config
from chorale.datasets.errors import UserError, join_first
from chorale.datasets.tables import gtzan_tracks
from chorale.datasets.tables.csv_table import (
    LOG,
    QUIET_LOG,
    find_table,
    read_columns,
    read_csv_header,
)
from chorale.datasets.tables.gtzan_tracks import (
    GTZAN_GENRES,
    UNDECODABLE,
    GtzanProtocol,
    known_tracks,
)
from chorale.datasets.tables.stats_names import STATS57

if TYPE_CHECKING:
    import pandas as pd

INFO = DatasetInfo(
    name="gtzan_features",
    title="GTZAN feature tables: 57 statistics of a clip, or of each 3 s of it",
    licence=gtzan_tracks.LICENCE,
    citation=gtzan_tracks.GTZAN_CITATION + "; feature tables: A. Olteanu, Kaggle, 2020",
    homepage=(
        "https://www.kaggle.com/datasets/andradaolteanu/gtzan-dataset-music-genre-classification"
    ),
    labels=GTZAN_GENRES,
    n_tracks=gtzan_tracks.N_GTZAN_TRACKS,
    size="1 MB (30s) and 11 MB (3s), in an archive of 1.2 GB",
    how_to_get=gtzan_tracks.HOW_TO_GET,
    features=("stats57",),
)

_FILE_NAME = re.compile(r"(?P<track>[a-z]+\.[0-9]{5})(?:\.(?P<segment>[0-9]+))?\.(?i:wav|au)")
_TABLE_FILES = {"30s": "features_30_sec.csv", "3s": "features_3_sec.csv"}


@config
class Config:
    """Where the table is, and which of its tracks to use."""

    root: str
    """folder that contains features_30_sec.csv and features_3_sec.csv, or one of the files"""
    table: Literal["30s", "3s"] = "30s"
    """30s: a track has one row; 3s: it has ten, its segments"""
    protocol: GtzanProtocol = "fault_filtered"
    """fault_filtered: 930 tracks in the published, artist-disjoint split; all: every track, with
    its artist as group and no official split"""


def tracks(config: Config) -> "pd.DataFrame":
    """One row per track of the table: `blues.00000`, its genre, its artist's group, its split.

    Rows with a missing or infinite number are left out and counted; so are tracks without a row.

    Raises:
        UserError: there is no such table, it lacks a feature, a cell is no number, a row is
            duplicated, or its `label` is not the track's genre in GTZAN.
    """
    return _tracks(_read(config, log=LOG), config, log=LOG)


def features(config: Config) -> "dict[str, pd.DataFrame]":
    """`stats57`: the 57 columns of `STATS57`, indexed by `track_id`, a row for each segment.

    Raises:
        UserError: as `tracks`.
    """
    table = _read(config, log=QUIET_LOG)
    chosen = table["track_id"].isin(_tracks(table, config, log=QUIET_LOG)["track_id"])
    return {"stats57": table.loc[chosen].set_index("track_id")[list(STATS57)]}


def _tracks(table: "pd.DataFrame", config: Config, *, log: logging.Logger) -> "pd.DataFrame":
    found: dict[str, Path | None] = dict.fromkeys(table["track_id"].unique())
    return gtzan_tracks.gtzan_track_table(
        found,
        protocol=config.protocol,
        dataset=INFO.name,
        known_missing={UNDECODABLE} if config.table == "3s" else frozenset(),
        log=log,
    )


def _read(config: Config, *, log: logging.Logger) -> "pd.DataFrame":
    """`track_id` and features of all usable rows, in the order of tracks and segments."""
    name = _TABLE_FILES[config.table]
    path = find_table(config.root, (name, f"Data/{name}"), dataset=INFO.name)
    labelled = "label" in read_csv_header(path, dataset=INFO.name)[0]
    text = ["filename", "label"] if labelled else ["filename"]
    table = read_columns(path, dataset=INFO.name, text=text, numbers=STATS57, row_name="filename")
    table = _named(table, path, log=log)
    _refuse_other_table(path, table["segment"] >= 0, config)
    _refuse_twice(path, table)
    if labelled:
        _refuse_other_labels(path, table)
    finite: npt.NDArray[np.bool_] = np.isfinite(table[list(STATS57)].to_numpy()).all(axis=1)
    if not finite.any():
        raise UserError(
            f"dataset 'gtzan_features': every row of '{path}' lacks a number; get a complete copy"
        )
    if not finite.all():
        log.warning(
            "gtzan_features: left out %d of %d rows, which have a missing or infinite number: %s",
            int((~finite).sum()),
            len(table),
            join_first(table.loc[~finite, "filename"]),
        )
    return table.loc[finite].sort_values(["track_id", "segment"], ignore_index=True)


def _named(table: "pd.DataFrame", path: Path, *, log: logging.Logger) -> "pd.DataFrame":
    """The rows of GTZAN tracks, with `track_id` and `segment` (-1 for the whole track)."""
    # some copies have folders in their file names, also with backslashes
    names = table["filename"].str.replace("\\", "/", regex=False).str.rsplit("/", n=1).str[-1]
    matches = [_FILE_NAME.fullmatch(name) for name in names]
    known = known_tracks()
    used = [m for m in matches if m is not None and m["track"] in known]
    is_known = np.array([m is not None and m["track"] in known for m in matches], dtype=bool)
    if not used:
        raise UserError(
            f"dataset 'gtzan_features': no row of '{path}' is of a GTZAN track; the column "
            f"'filename' must have names such as blues.00000.wav, but has "
            f"{join_first(repr(name) for name in table['filename'].head(2)) or 'no row'}; for your "
            f"own table use --dataset.name table"
        )
    gtzan_tracks.log_unknown(list(table.loc[~is_known, "filename"]), dataset=INFO.name, log=log)
    return table.loc[is_known].assign(
        track_id=[match["track"] for match in used],
        segment=[-1 if match["segment"] is None else int(match["segment"]) for match in used],
    )


def _refuse_other_table(path: Path, is_segment: "pd.Series[bool]", config: Config) -> None:
    wrong = int((is_segment if config.table == "30s" else ~is_segment).sum())
    if wrong:
        other = "3s" if config.table == "30s" else "30s"
        raise UserError(
            f"dataset 'gtzan_features': {wrong} rows of '{path}' are not of the {config.table} "
            f"table, whose files are named "
            f"{'blues.00000.wav' if config.table == '30s' else 'blues.00000.0.wav'}; "
            f"type --dataset.table {other}, or give the other file"
        )


def _refuse_twice(path: Path, table: "pd.DataFrame") -> None:
    twice = table["filename"][table.duplicated(["track_id", "segment"])]
    if len(twice):
        raise UserError(
            f"dataset 'gtzan_features': '{path}' has {len(twice)} duplicate rows: "
            f"{join_first(twice)}; remove one of each"
        )


def _refuse_other_labels(path: Path, table: "pd.DataFrame") -> None:
    genres = table["track_id"].str.split(".").str[0]
    other = table["filename"][(table["label"] != genres) & (table["label"] != "")]
    if len(other):
        raise UserError(
            f"dataset 'gtzan_features': {len(other)} rows of '{path}' have a label that is not "
            f"their track's genre: {join_first(other)}; for your own labels use "
            f"--dataset.name table"
        )
