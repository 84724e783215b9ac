"""OpenMIC-2018: 20,000 excerpts of 10 s of music with the instruments in them, of 20.

It is multi-label: an excerpt has each instrument that its raters found there (relevance of 0.5 or
more). The track table has the official split; the group is the artist. Files:

    audio/{KEY[:3]}/{KEY}.ogg              the key is the track's number in FMA and the start in ms
    openmic-2018-aggregated-labels.csv     sample_key,instrument,relevance,num_responses
    openmic-2018-metadata.csv              sample_key,artist_id,track_id and more
    partitions/split01_{train,test}.csv    the keys of 14,915 and 5,085 excerpts, one in a line

Of the 400,000 pairs of an excerpt and an instrument about 41,000 were rated, each by people who
were asked about this instrument. The others are unknown: they are neither trained on nor scored, so
that scores are of rated pairs only, as published ones are.

Pitfalls: which pairs were rated was not drawn at random, so that a score of them need not be that
of all pairs.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from chorale.datasets.base import DatasetInfo, Download, existing_folder, track_table
from chorale.datasets.config import config
from chorale.datasets.errors import UserError, join_first
from chorale.datasets.label_sets import join_labels
from chorale.datasets.tables.csv_table import find_table, read_columns
from chorale.datasets.tables.listed_files import are_present

if TYPE_CHECKING:
    import pandas as pd

# fmt: off
INSTRUMENTS = (
    "accordion", "banjo", "bass", "cello", "clarinet", "cymbals", "drums", "flute", "guitar",
    "mallet_percussion", "mandolin", "organ", "piano", "saxophone", "synthesizer", "trombone",
    "trumpet", "ukulele", "violin", "voice",
)
# fmt: on

MIN_RELEVANCE = 0.5
"""An instrument is present from this relevance on, the threshold of the publication."""

INFO = DatasetInfo(
    name="openmic",
    title=(
        "OpenMIC-2018: which of 20 instruments are in 10 s of music, several at once; what was "
        "not rated is unknown"
    ),
    licence="CC BY 4.0; each excerpt has the licence of its track in FMA",
    citation=(
        "E. J. Humphrey, S. Durand, B. McFee: OpenMIC-2018: An Open Data-set for Multiple "
        "Instrument Recognition, ISMIR, 2018, doi:10.5281/zenodo.1432913"
    ),
    homepage="https://github.com/cosmir/openmic-2018",
    labels=INSTRUMENTS,
    n_tracks=20_000,
    size="2.6 GB, as a tar",
    checksums={"openmic-2018-v1.0.0.tgz": "md5:e4ccf187e2bb5ab2e115416e8aafe7f4"},
    downloads=(
        Download(
            "https://zenodo.org/records/1432913/files/openmic-2018-v1.0.0.tgz",
            "openmic-2018-v1.0.0.tgz",
            unpack_to="openmic-2018",
            inside="openmic-2018",
        ),
    ),
)

_LABELS = "openmic-2018-aggregated-labels.csv"
_METADATA = "openmic-2018-metadata.csv"
_SUBFOLDERS = ("", "openmic-2018")
"""Possible parents of `audio` below `root`: itself, the unpacked tar."""

_log = logging.getLogger("chorale")


@config
class Config:
    """Where the excerpts are, and which split to use."""

    root: str
    """folder that contains audio, partitions and the tables, or its parent"""
    official_split: bool = True
    """use the published parts for training and for the test; false draws a test set of unseen
    artists"""


def tracks(config: Config) -> "pd.DataFrame":
    """One row per rated excerpt: its instruments, those that are unknown, artist, official split.

    Excerpts that were not rated, and missing files, are left out and counted.

    Raises:
        UserError: the excerpts or their tables are missing, or a table is damaged.
    """
    existing_folder(config.root, dataset=INFO.name)
    places = [f"{name}/{_LABELS}".lstrip("/") for name in _SUBFOLDERS]
    root = find_table(config.root, places, dataset=INFO.name).parent
    rated = _ratings(root / _LABELS)
    splits = _splits(root) if config.official_split else {}
    artists = _artists(root / _METADATA)
    keys = sorted(splits or rated["sample_key"].unique())
    found = rated[rated["relevance"] >= MIN_RELEVANCE].groupby("sample_key")["instrument"]
    labels = {str(key): join_labels(names) for key, names in found}
    unknown = {
        str(key): join_labels(set(INSTRUMENTS) - set(names))
        for key, names in rated.groupby("sample_key")["instrument"]
    }
    labelled = [key for key in keys if key in unknown]
    if without := len(keys) - len(labelled):
        _log.warning("openmic: left out %d excerpts that were not rated", without)
    names = [f"{key[:3]}/{key}.ogg" for key in labelled]
    audio = root / "audio"
    existing = {f"{path.parent.name}/{path.name}" for path in audio.glob("*/*.ogg")}
    present = are_present(names, existing, audio=audio, dataset=INFO.name, expected="audio")
    return track_table(
        {
            "track_id": key,
            "path": str(audio / name),
            "label": labels.get(key, ""),
            "unknown": unknown[key],
            "group": artists.get(key, f"track-{key.split('_')[0]}"),
            "split": splits.get(key),
        }
        for key, name, there in zip(labelled, names, present, strict=True)
        if there
    )


def _ratings(path: Path) -> "pd.DataFrame":
    """`sample_key`, `instrument` and `relevance` of each rated pair, each once."""
    table = read_columns(
        path, dataset=INFO.name, text=("sample_key", "instrument"), numbers=("relevance",)
    )
    odd = (table["sample_key"] == "") | ~table["instrument"].isin(INSTRUMENTS)
    odd |= ~table["relevance"].between(0, 1)
    if odd.any():
        raise UserError(
            f"dataset 'openmic': '{path}' has {int(odd.sum())} rows without a key, with an unknown "
            f"instrument, or a relevance that is not 0 to 1: "
            f"{join_first(repr(key) for key in table.loc[odd, 'sample_key'])}; get a complete copy"
        )
    return table.drop_duplicates(["sample_key", "instrument"], keep="last")


def _splits(root: Path) -> dict[str, str]:
    """The part of each excerpt in the official split."""
    found: dict[str, str] = {}
    for part in ("train", "test"):
        path = root / "partitions" / f"split01_{part}.csv"
        try:
            keys = path.read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"dataset 'openmic': '{path}' cannot be read ({error}); get a complete copy, or "
                f"type --dataset.official_split false"
            ) from None
        twice = [key for key in keys if key in found]
        if twice:
            raise UserError(
                f"dataset 'openmic': {len(twice)} excerpts are in both parts of the split in "
                f"'{path.parent}': {join_first(twice)}; get a complete copy"
            )
        found |= dict.fromkeys(keys, part)
    return found


def _artists(path: Path) -> dict[str, str]:
    """The group of each excerpt whose artist is known."""
    if not path.is_file():
        _log.warning(
            "openmic: there is no '%s', so that the track is the group, not the artist", path
        )
        return {}
    table = read_columns(path, dataset=INFO.name, text=("sample_key", "artist_id"))
    known = table[table["artist_id"] != ""]
    return dict(zip(known["sample_key"], "artist-" + known["artist_id"], strict=True))
