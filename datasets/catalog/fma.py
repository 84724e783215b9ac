"""FMA's audio: clips of 30 s as MP3, in three sizes, with official split and artists.

Gives the track table with the artist as group and the top genre as label. Layout:

    fma_small/000/000002.mp3     or fma_medium, fma_large
    fma_metadata/tracks.csv      106,574 rows under a header of two lines

Traps: `large` has a top genre for fewer than half of its tracks; fifteen clips hold no audio and
six are shorter than 30 s, because the tracks' lengths were given wrong when they were cut; the
untrimmed `fma_full` is not read here, as its tracks are minutes long.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from chorale.datasets.base import DatasetInfo, Download, existing_folder
from chorale.datasets.config import config
from chorale.datasets.errors import UserError, shown
from chorale.datasets.tables import fma_metadata

if TYPE_CHECKING:
    import pandas as pd

Subset = Literal["small", "medium", "large"]
SUBSETS: tuple[Subset, ...] = ("small", "medium", "large")

INFO = DatasetInfo(
    name="fma",
    title="Free Music Archive: clips of 30 s, 8 balanced or 16 unbalanced genres",
    licence="metadata CC BY 4.0; each track's audio under the licence that its artist chose",
    citation=fma_metadata.CITATION,
    homepage=fma_metadata.HOMEPAGE,
    labels=fma_metadata.GENRES,
    n_tracks=fma_metadata.N_TRACKS,
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
                f"{fma_metadata.FILES}/fma_{subset}.zip",
                f"fma_{subset}.zip",
                unpack_to=f"fma_{subset}",
                inside=f"fma_{subset}",
                part=subset,
            )
            for subset in SUBSETS
        ),
    ),
)

NO_AUDIO = frozenset(
    {1486, 5574, 65753, 80391, 98558, 98559, 98560, 98571, 99134, 105247, 108925}
    | {126981, 127336, 133297, 143992}
)
TOO_SHORT = frozenset({98565, 98566, 98567, 98568, 98569, 108924})
"""Source: M. Defferrard, FMA's issue 8, 2017, https://github.com/mdeff/fma/issues/8"""

_log = logging.getLogger("chorale")


@config
class Config:
    """Where the clips are, and how many of them to take."""

    root: str
    """folder that holds fma_metadata and fma_small, fma_medium or fma_large"""
    subset: Subset = "small"
    """small: 8,000 tracks of 8 genres; medium: 25,000 of 16; large: all that have a top genre"""


def tracks(config: Config) -> "pd.DataFrame":
    """A row for each clip that is there: its top genre, its artist as group, the official split.

    Clips without a top genre, known bad clips and missing files are left out and counted. Where
    the folder of `subset` is not there, that of a larger one is read, which holds the same clips.

    Raises:
        UserError: the clips or their metadata are not there or damaged.
    """
    root = existing_folder(config.root, dataset=INFO.name)
    metadata = fma_metadata.read_metadata(config.root, subset=config.subset, dataset=INFO.name)
    audio = _audio_folder(root, config.subset)
    bad = metadata.index.isin(NO_AUDIO | TOO_SHORT)
    if bad.any():
        _log.info("fma: left out %d clips known to be empty or cut short", int(bad.sum()))
    clips = {number: _clip(number) for number in metadata.index[~bad]}
    there = _files(audio)
    missing = [clip for clip in clips.values() if clip not in there]
    if len(missing) == len(clips):
        raise UserError(
            f"dataset 'fma': not one of the {len(clips)} clips of '{config.subset}' is in "
            f"'{audio}', such as {shown(missing)}; give the folder that holds "
            f"fma_{config.subset} with --dataset.root FOLDER"
        )
    if missing:
        _log.warning(
            "fma: %d of %d clips are not in %s: %s", len(missing), len(clips), audio, shown(missing)
        )
    paths = {number: str(audio / clip) for number, clip in clips.items() if clip in there}
    return fma_metadata.make_tracks(metadata.loc[list(paths)], paths)


def _audio_folder(root: Path, subset: Subset) -> Path:
    larger = [f"fma_{name}" for name in SUBSETS[SUBSETS.index(subset) :]]
    for folder in (root / name for name in larger):
        if folder.is_dir():
            return folder
    raise UserError(
        f"dataset 'fma': there is no {' or '.join(larger)} in '{root}'; unpack "
        f"fma_{subset}.zip there, or give the folder that holds it with --dataset.root FOLDER"
    )


def _clip(number: int) -> str:
    name = fma_metadata.track_id(number)
    return f"{name[:3]}/{name}.mp3"


def _files(audio: Path) -> set[str]:
    """`000/000002.mp3` for every file: reading a few hundred folders beats asking 100,000 times."""
    folders = [folder for folder in audio.iterdir() if folder.is_dir()]
    return {f"{folder.name}/{path.name}" for folder in folders for path in folder.iterdir()}
