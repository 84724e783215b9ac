"""GTZAN metadata: genre, artist and fault-filtered split of each of its 1,000 tracks.

The three GTZAN datasets (audio, feature tables, images) make their track tables here, so that
names, groups and splits are the same.

Sources of `catalog/gtzan_tracks.csv`: artists and faults from
B. L. Sturm, "The GTZAN dataset: Its contents, its faults, their effects on evaluation, and its
future use", 2013, https://arxiv.org/abs/1306.1461; the fault-filtered split from C. Kereliuk,
B. L. Sturm, J. Larsen, "Deep Learning and Music Adversaries", 2015,
https://arxiv.org/abs/1507.04761. A track without a known artist is a group of its own.
"""

import csv
import io
import logging
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from chorale.datasets.base import track_table
from chorale.datasets.errors import UserError, join_first
from chorale.datasets.tables.csv_table import LOG

if TYPE_CHECKING:
    import pandas as pd

GTZAN_GENRES = (
    "blues",
    "classical",
    "country",
    "disco",
    "hiphop",
    "jazz",
    "metal",
    "pop",
    "reggae",
    "rock",
)
N_GTZAN_TRACKS = 1000
UNDECODABLE = "jazz.00054"
"""Its wav in the Kaggle copy is no audio; its au in the original edition is."""

GTZAN_CITATION = (
    "G. Tzanetakis, P. Cook: Musical Genre Classification of Audio Signals, IEEE Transactions on "
    "Speech and Audio Processing 10(5), 2002, doi:10.1109/TSA.2002.800560; faults and artists: "
    "B. L. Sturm, arXiv:1306.1461, 2013; fault-filtered split: C. Kereliuk, B. L. Sturm, "
    "J. Larsen, IEEE Transactions on Multimedia 17(11), 2015, arXiv:1507.04761"
)
LICENCE = "none stated; excerpts of commercial recordings, for research only"
HOW_TO_GET = (
    "Kaggle asks for a login: log in at https://www.kaggle.com/datasets/andradaolteanu/"
    "gtzan-dataset-music-genre-classification, download the archive, unpack it, and give its "
    "folder with --dataset.root FOLDER"
)

GtzanProtocol = Literal["fault_filtered", "all"]
"""Which tracks: `fault_filtered` is the published split of 930 tracks (443 to train on, 197 to
validate, 290 to test; no artist in two of them), `all` is every track, replicas and wrong labels
with them, and no official split."""


@dataclass(frozen=True)
class KnownTrack:
    """A track's genre, its artist's group, and its part of the split (None if it is faulty)."""

    genre: str
    group: str
    split: str | None


@lru_cache(maxsize=1)
def known_tracks() -> Mapping[str, KnownTrack]:
    """`blues.00000` -> its metadata, for all 1,000 tracks."""
    table = resources.files("chorale.datasets.catalog").joinpath("gtzan_tracks.csv")
    known = {}
    for row in csv.DictReader(io.StringIO(table.read_text(encoding="utf-8"))):
        split = row["fault_filtered_split"]
        known[row["track"]] = KnownTrack(
            genre=row["genre"],
            group=f"artist-{int(row['artist_group']):03d}",
            split=None if split == "excluded" else split,
        )
    return known


def gtzan_track_table(
    found: Mapping[str, Path | None],
    *,
    protocol: GtzanProtocol,
    dataset: str,
    known_missing: Set[str] = frozenset(),
    log: logging.Logger = LOG,
) -> "pd.DataFrame":
    """The track table of the tracks that were found; logs how many are left out or missing.

    Args:
        found: `blues.00000` -> its file, or None in a table.
        protocol: which of them to use, and whether they have an official split.
        dataset: the dataset's name, for errors and logs.
        known_missing: tracks that no copy has, which are not logged as missing.
        log: where the counts are logged.

    Raises:
        UserError: no track is left.
    """
    known = known_tracks()
    official = protocol == "fault_filtered"
    wanted = [name for name in known if known[name].split or not official]
    rows = [
        {
            "track_id": name,
            "path": None if found[name] is None else str(found[name]),
            "label": known[name].genre,
            "group": known[name].group,
            "split": known[name].split if official else None,
        }
        for name in wanted
        if name in found
    ]
    if not rows:
        raise UserError(
            f"dataset '{dataset}': all {len(found)} tracks that were found are among the faulty "
            f"ones that the fault-filtered split excludes, such as {join_first(sorted(found))}; "
            f"get a complete copy, or type --dataset.protocol all"
        )
    if n_faulty := len(found) - len(rows):
        log.info(
            "%s: left out %d tracks that are faulty (replicas, wrong labels)", dataset, n_faulty
        )
    missing = [name for name in wanted if name not in found and name not in known_missing]
    if missing:
        n_expected = len(rows) + len(missing)
        log.warning(
            "%s: only %d of %d tracks exist; missing: %s",
            dataset,
            len(rows),
            n_expected,
            join_first(missing),
        )
    return track_table(rows)


def find_files(
    root: Path, subfolders: Iterable[str], file_name: re.Pattern[str], *, dataset: str
) -> dict[str, Path]:
    """`blues.00000` -> its file, in the first of `subfolders` whose genre folders have any.

    Hidden files are skipped; others that are not GTZAN tracks are skipped and counted. Of two files
    of one track the first by name is used.

    Args:
        root: where the subfolders are.
        subfolders: possible paths between `root` and the genre folders.
        file_name: pattern of the file names, with the groups `genre` and `number`.
        dataset: the dataset's name, for errors.
    """
    for subfolder in subfolders:
        found: dict[str, Path] = {}
        others = []
        for path in sorted(
            at for genre in GTZAN_GENRES for at in (root / subfolder / genre).glob("*")
        ):
            if path.name.startswith(".") or not path.is_file():
                continue
            match = file_name.fullmatch(path.name)
            track = f"{match['genre']}.{match['number']}" if match else ""
            if track in known_tracks() and known_tracks()[track].genre == path.parent.name:
                found.setdefault(track, path)
            else:
                others.append(f"{path.parent.name}/{path.name}")
        if found:
            log_unknown(others, dataset=dataset)
            return found
    return {}


def log_unknown(names: Sequence[str], *, dataset: str, log: logging.Logger = LOG) -> None:
    """Logs files or rows that are ignored because they are not GTZAN tracks."""
    if names:
        log.warning(
            "%s: ignored %d that are not GTZAN tracks: %s", dataset, len(names), join_first(names)
        )
