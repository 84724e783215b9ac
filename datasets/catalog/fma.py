"""Free Music Archive (FMA) audio: MP3 clips of 30 s, three sizes, official split and artists.

The track table has the artist as group and the top genre as label. Files:

    fma_small/000/000002.mp3     or fma_medium, fma_large
    fma_metadata/tracks.csv      106,574 rows under a header of two lines

Pitfalls: `large` has a top genre for fewer than half of its tracks; fifteen clips have no audio and
six are shorter than 30 s, because they were cut by wrong track lengths; the untrimmed `fma_full` is
not read here, as its tracks are minutes long.
"""

import logging
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from chorale.datasets.base import DatasetInfo, Download, existing_folder
from chorale.datasets.config import config
from chorale.datasets.errors import UserError
from chorale.datasets.tables import fma_metadata
from chorale.datasets.tables.listed_files import are_present

if TYPE_CHECKING:
    import pandas as pd

AudioSubset = Literal["small", "medium", "large"]
AUDIO_SUBSETS: tuple[AudioSubset, ...] = ("small", "medium", "large")

INFO = DatasetInfo(
    name="fma",
    title="Free Music Archive: clips of 30 s, 8 balanced or 16 unbalanced genres",
    licence="metadata CC BY 4.0; each track's audio under the licence that its artist chose",
    citation=fma_metadata.FMA_CITATION,
    homepage=fma_metadata.HOMEPAGE,
    labels=fma_metadata.FMA_GENRES,
    n_tracks=fma_metadata.N_FMA_TRACKS,
    size="small 7.2 GiB (8,000), medium 22 GiB (25,000), large 93 GiB; metadata 342 MiB",
    checksums=fma_metadata.CHECKSUMS
    | {
        "fma_small.zip": "sha1:ade154f733639d52e35e32f5593efe5be76c6d70",
        "fma_medium.zip": "sha1:c67b69ea232021025fca9231fc1c7c1a063ab50b",
        "fma_large.zip": "sha1:497109f4dd721066b5ce5e5f250ec604dc78939e",
    },
    downloads=(
        fma_metadata.DOWNLOAD,
        *(
            Download(
                f"{fma_metadata.ARCHIVE_URL}/fma_{subset}.zip",
                f"fma_{subset}.zip",
                unpack_to=f"fma_{subset}",
                inside=f"fma_{subset}",
                part=subset,
            )
            for subset in AUDIO_SUBSETS
        ),
    ),
)

EMPTY_CLIPS = frozenset(
    {1486, 5574, 65753, 80391, 98558, 98559, 98560, 98571, 99134, 105247, 108925}
    | {126981, 127336, 133297, 143992}
)
SHORT_CLIPS = frozenset({98565, 98566, 98567, 98568, 98569, 108924})
"""Source: M. Defferrard, FMA's issue 8, 2017, https://github.com/mdeff/fma/issues/8"""

_log = logging.getLogger("chorale")


@config
class Config:
    """Where the clips are, and which subset to use."""

    root: str
    """folder that contains fma_metadata and fma_small, fma_medium or fma_large"""
    subset: AudioSubset = "small"
    """small: 8,000 tracks of 8 genres; medium: 25,000 of 16; large: all that have a top genre"""


def tracks(config: Config) -> "pd.DataFrame":
    """One row per existing clip: its top genre, its artist as group, the official split.

    Clips without a top genre, known bad clips and missing files are left out and counted. If the
    folder of `subset` is missing, that of a larger one is read, which has the same clips.

    Raises:
        UserError: the clips or their metadata are missing or damaged.
    """
    root = existing_folder(config.root, dataset=INFO.name)
    metadata = fma_metadata.read_metadata(config.root, subset=config.subset, dataset=INFO.name)
    audio = _audio_folder(root, config.subset)
    bad = metadata.index.isin(EMPTY_CLIPS | SHORT_CLIPS)
    if bad.any():
        _log.info("fma: left out %d clips known to be empty or cut short", int(bad.sum()))
    clips = {number: _clip(number) for number in metadata.index[~bad]}
    present = are_present(
        list(clips.values()),
        _files(audio),
        audio=audio,
        dataset=INFO.name,
        expected=f"fma_{config.subset}",
        noun="clips",
    )
    paths = {number: str(audio / clip) for number, clip in compress(clips.items(), present)}
    return fma_metadata.fma_track_table(metadata.loc[list(paths)], paths)


def _audio_folder(root: Path, subset: AudioSubset) -> Path:
    larger = [f"fma_{name}" for name in AUDIO_SUBSETS[AUDIO_SUBSETS.index(subset) :]]
    for folder in (root / name for name in larger):
        if folder.is_dir():
            return folder
    raise UserError(
        f"dataset 'fma': there is no {' or '.join(larger)} in '{root}'; unpack "
        f"fma_{subset}.zip there, or give the folder that contains it with --dataset.root FOLDER"
    )


def _clip(number: int) -> str:
    name = fma_metadata.fma_track_id(number)
    return f"{name[:3]}/{name}.mp3"


def _files(audio: Path) -> set[str]:
    """`000/000002.mp3` for every file: listing a few hundred folders beats 100,000 stat calls."""
    folders = [folder for folder in audio.iterdir() if folder.is_dir()]
    return {f"{folder.name}/{path.name}" for folder in folders for path in folder.iterdir()}
