"""GTZAN music genre collection: 1,000 clips of 30 s in ten genres.

The track table has the artist as group and, by default, the fault-filtered split. Files:

    genres_original/GENRE/GENRE.NNNNN.wav   the copy on Kaggle
    genres/GENRE/GENRE.NNNNN.au             the original edition by Marsyas

Pitfalls: the Kaggle copy's `jazz.00054.wav` is no audio, and neither are the `._*.wav` in archives
made on a Mac; there are many replicas, versions and wrong labels; most artists have several tracks,
so a split that ignores artists measures artist recognition. `datasets.tables.gtzan_tracks` has the
table of artists and faults, and its sources.
"""

import logging
import re
from typing import TYPE_CHECKING

from chorale.datasets.base import DatasetInfo, existing_folder
from chorale.datasets.config import config
from chorale.datasets.errors import UserError
from chorale.datasets.tables import gtzan_tracks
from chorale.datasets.tables.gtzan_tracks import GTZAN_GENRES, UNDECODABLE, GtzanProtocol

if TYPE_CHECKING:
    import pandas as pd

INFO = DatasetInfo(
    name="gtzan",
    title="GTZAN genre collection: clips of 30 s, 22,050 Hz, mono",
    licence=gtzan_tracks.LICENCE,
    citation=gtzan_tracks.GTZAN_CITATION,
    homepage=(
        "https://www.kaggle.com/datasets/andradaolteanu/gtzan-dataset-music-genre-classification"
    ),
    labels=GTZAN_GENRES,
    n_tracks=gtzan_tracks.N_GTZAN_TRACKS,
    size="1.2 GB, zipped",
    how_to_get=gtzan_tracks.HOW_TO_GET,
)

_FILE_NAME = re.compile(r"(?P<genre>[a-z]+)\.(?P<number>[0-9]{5})\.(?i:au|wav)")
_SUBFOLDERS = ("genres_original", "Data/genres_original", "genres", "")
"""Possible parents of the genre folders below `root`; the Kaggle archive unpacks to `Data`."""

_log = logging.getLogger("chorale")


@config
class Config:
    """Where the clips are, and which of them to use."""

    root: str
    """folder that contains genres_original or genres, or that folder itself"""
    protocol: GtzanProtocol = "fault_filtered"
    """fault_filtered: 930 tracks in the published, artist-disjoint split; all: every track, with
    its artist as group and no official split"""


def tracks(config: Config) -> "pd.DataFrame":
    """One row per existing clip: `blues.00000`, its genre, its artist's group, its split.

    An incomplete copy is used as it is; the number of missing clips is logged. Hidden files are
    skipped, files that are not among the 1,000 are skipped and counted, and of a track that exists
    as au and wav the au is used.

    Raises:
        UserError: `root` is missing, or has none of the clips.
    """
    root = existing_folder(config.root, dataset=INFO.name)
    found = gtzan_tracks.find_files(root, _SUBFOLDERS, _FILE_NAME, dataset=INFO.name)
    undecodable = found.get(UNDECODABLE)
    if undecodable is not None and undecodable.suffix.lower() == ".wav":
        _log.warning("gtzan: skipped %s, which is no audio in the Kaggle copy", undecodable.name)
        del found[UNDECODABLE]
    if not found:
        raise UserError(
            f"dataset 'gtzan': no clip such as genres_original/blues/blues.00000.wav or "
            f"genres/blues/blues.00000.au below '{root}'; give the folder that contains "
            f"genres_original or genres with --dataset.root FOLDER"
        )
    only_wav = all(path.suffix.lower() == ".wav" for path in found.values())
    return gtzan_tracks.gtzan_track_table(
        found,
        protocol=config.protocol,
        dataset=INFO.name,
        known_missing={UNDECODABLE} if only_wav else frozenset(),
    )
