"""GTZAN, the classic of music genre recognition: 1,000 clips of 30 s in ten genres.

Gives the track table with the artist as group and, by default, the fault-filtered split. Layouts:

    genres_original/GENRE/GENRE.NNNNN.wav   the copy on Kaggle
    genres/GENRE/GENRE.NNNNN.au             the first edition by Marsyas

Traps: the Kaggle copy's `jazz.00054.wav` is no audio; archives made on a Mac hold `._*.wav` that
are none either; replicas, versions and wrong labels are many; most artists have several tracks, so
that a split that does not know them measures who plays. `datasets.tables.gtzan_tracks` has the
table of artists and faults, and its sources.
"""

import logging
import re
from typing import TYPE_CHECKING

from chorale.datasets.base import DatasetInfo, existing_folder
from chorale.datasets.config import config
from chorale.datasets.errors import UserError
from chorale.datasets.tables import gtzan_tracks
from chorale.datasets.tables.gtzan_tracks import GENRES, UNDECODABLE, Protocol

if TYPE_CHECKING:
    import pandas as pd

INFO = DatasetInfo(
    name="gtzan",
    title="GTZAN genre collection: clips of 30 s, 22,050 Hz, mono",
    licence=gtzan_tracks.LICENCE,
    citation=gtzan_tracks.CITATION,
    homepage=(
        "https://www.kaggle.com/datasets/andradaolteanu/gtzan-dataset-music-genre-classification"
    ),
    labels=GENRES,
    n_tracks=gtzan_tracks.N_TRACKS,
    size="1.2 GB, zipped",
    how_to_get=gtzan_tracks.HOW_TO_GET,
)

FILE_NAME = re.compile(r"(?P<genre>[a-z]+)\.(?P<number>[0-9]{5})\.(?i:au|wav)")
SUBFOLDERS = ("genres_original", "Data/genres_original", "genres", "")
"""Where the genres' folders lie below `root`; the Kaggle archive unpacks to `Data`."""

_log = logging.getLogger("chorale")


@config
class Config:
    """Where the clips are, and which of them to take."""

    root: str
    """folder that holds genres_original or genres, or that folder itself"""
    protocol: Protocol = "fault_filtered"
    """fault_filtered: 930 tracks in the published, artist-disjoint split; all: every track, with
    its artist as group and no official split"""


def tracks(config: Config) -> "pd.DataFrame":
    """A row for each clip that is there: `blues.00000`, its genre, its artist's group, its split.

    A copy with clips missing is used as it is; how many are missing is logged. Hidden files are
    skipped, files that are not among the 1,000 are skipped and counted, and of a track that is
    there as au and wav the au is taken.

    Raises:
        UserError: `root` is not there, or holds none of the clips.
    """
    root = existing_folder(config.root, dataset=INFO.name)
    found = gtzan_tracks.find_files(root, SUBFOLDERS, FILE_NAME, dataset=INFO.name)
    undecodable = found.get(UNDECODABLE)
    if undecodable is not None and undecodable.suffix.lower() == ".wav":
        _log.warning("gtzan: skipped %s, which is no audio in the Kaggle copy", undecodable.name)
        del found[UNDECODABLE]
    if not found:
        raise UserError(
            f"dataset 'gtzan': no clip such as genres_original/blues/blues.00000.wav or "
            f"genres/blues/blues.00000.au below '{root}'; give the folder that holds "
            f"genres_original or genres with --dataset.root FOLDER"
        )
    only_wav = all(path.suffix.lower() == ".wav" for path in found.values())
    return gtzan_tracks.make_tracks(
        found,
        protocol=config.protocol,
        dataset=INFO.name,
        never_there={UNDECODABLE} if only_wav else frozenset(),
    )
