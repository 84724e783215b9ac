"""MagnaTagATune: 25,863 excerpts of 29 s of music with tags that players of a game agreed on.

It is multi-label, with the most frequent of its 188 tags; the group is the artist. There is no
official split. Files, with tabs between the columns of the tables:

    {0..f}/{NAME}.mp3, or mp3/{0..f}/{NAME}.mp3    16,000 Hz, mono, 32 kbit/s
    annotations_final.csv    clip_id, a column of 0 and 1 for each tag, mp3_path
    clip_info_final.csv      clip_id, track_number, title, artist, album, url, ..., mp3_path

Pitfalls: with the 50 most frequent tags, 21,108 excerpts have at least one; the others are left
out. Tags overlap in meaning ("female vocal", "female voice", "woman"). The split of many
publications, by folder (0 to b, c, d to f), has excerpts of one song on both sides. Three files
are empty: the audit excludes them.
"""

import logging
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from chorale.datasets.base import DatasetInfo, existing_folder, track_table
from chorale.datasets.config import config
from chorale.datasets.errors import UserError, join_first
from chorale.datasets.label_sets import LABEL_SEPARATOR, join_labels
from chorale.datasets.tables.csv_table import find_table
from chorale.datasets.tables.listed_files import are_present
from chorale.datasets.tables.tab_table import read_tab_table

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

N_ALL_TAGS = 188

INFO = DatasetInfo(
    name="mtt",
    title="MagnaTagATune: tags of 29 s of music (instruments, genres, voices), several at once",
    licence="CC BY-NC-SA 3.0",
    citation=(
        "E. Law, K. West, M. Mandel, M. Bay, J. S. Downie: Evaluation of Algorithms Using Games: "
        "The Case of Music Tagging, ISMIR, 2009"
    ),
    homepage="https://mirg.city.ac.uk/codeapps/the-magnatagatune-dataset",
    n_tracks=25_863,
    size="3 GB, as three parts of a zip",
    how_to_get=(
        "download mp3.zip.001, .002 and .003, annotations_final.csv and clip_info_final.csv from "
        "https://mirg.city.ac.uk/codeapps/the-magnatagatune-dataset, join the parts by cat "
        "mp3.zip.00* > mp3.zip, and unzip it beside the tables"
    ),
)

_TAGS, _CLIPS = "annotations_final.csv", "clip_info_final.csv"
_NO_TAGS = ("clip_id", "mp3_path")
"""Columns of the table of tags that are none."""
_SUBFOLDERS = ("", "mp3", "audio", "mp3s")
"""Possible parents of the folders 0 to f beside the tables."""

_log = logging.getLogger("chorale")


@config
class Config:
    """Where the excerpts are, and how many tags to use."""

    root: str
    """folder that contains annotations_final.csv and the folders 0 to f, or mp3 with them"""
    n_tags: Annotated[int, Field(ge=2, le=N_ALL_TAGS)] = 50
    """the most frequent tags, of 188; excerpts with none of them are left out"""


def tracks(config: Config) -> "pd.DataFrame":
    """One row per excerpt with a tag: its tags, its artist as group.

    Excerpts without any of the tags, and missing files, are left out and counted.

    Raises:
        UserError: the excerpts or their tables are missing, or a table is damaged.
    """
    existing_folder(config.root, dataset=INFO.name)
    path = find_table(config.root, [_TAGS], dataset=INFO.name)
    table = read_tab_table(path, dataset=INFO.name, required=_NO_TAGS)
    table["label"] = _labels(path, table, config.n_tags)
    tagged = table[table["label"] != ""]
    if without := len(table) - len(tagged):
        _log.warning(
            "mtt: left out %d of %d excerpts, which have none of the %d most frequent tags",
            without,
            len(table),
            config.n_tags,
        )
    artists = _artists(path.parent / _CLIPS)
    audio, existing = _files(path.parent)
    names = tagged["mp3_path"].tolist()
    present = are_present(
        names, existing, audio=audio, dataset=INFO.name, expected="the folders 0 to f"
    )
    return track_table(
        {
            "track_id": f"clip-{clip.zfill(5)}",
            "path": str(audio / name),
            "label": label,
            "group": artists.get(clip, f"clip-{clip}"),
        }
        for clip, name, label in tagged.loc[present, ["clip_id", "mp3_path", "label"]].itertuples(
            index=False
        )
    )


def _labels(path: "Path", table: "pd.DataFrame", n_tags: int) -> list[str]:
    """The text of each excerpt's tags among the `n_tags` most frequent; "" for none of them."""
    columns = table.drop(columns=list(_NO_TAGS))
    odd = ~columns.isin(["0", "1"]).all(axis=1)
    if odd.any() or columns.shape[1] < 2:
        raise UserError(
            f"dataset 'mtt': '{path}' needs a column of 0 and 1 for each tag, and has "
            f"{columns.shape[1]} columns and {int(odd.sum())} rows with other cells: "
            f"{join_first(map(repr, table.loc[odd, 'clip_id']))}; get a complete copy"
        )
    has = columns == "1"
    has.columns = columns.columns.str.replace(LABEL_SEPARATOR, ",", regex=False)
    top = has.sum().sort_values(ascending=False, kind="stable").index[:n_tags]
    chosen = has[top].to_numpy()
    return [join_labels(top[row]) for row in chosen]


def _artists(path: "Path") -> dict[str, str]:
    """The group of each excerpt whose artist is known."""
    if not path.is_file():
        _log.warning(
            "mtt: there is no '%s', so that each excerpt is its own group, and a song may be on "
            "both sides of a split",
            path,
        )
        return {}
    table = read_tab_table(path, dataset=INFO.name, required=("clip_id", "artist"))
    rows = table.loc[table["artist"] != "", ["clip_id", "artist"]].itertuples(index=False)
    return {clip: f"artist-{artist}" for clip, artist in rows}


def _files(root: "Path") -> tuple["Path", set[str]]:
    """The folder of the folders 0 to f, and their files."""
    for name in _SUBFOLDERS:
        files = {f"{path.parent.name}/{path.name}" for path in (root / name).glob("[0-9a-f]/*.mp3")}
        if files:
            return root / name, files
    return root, set()
