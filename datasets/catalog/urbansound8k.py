"""UrbanSound8K: 8,732 excerpts of at most 4 s of field recordings in 10 classes.

The track table has the ten official folds, and the recording on Freesound as group. Files:

    audio/fold{1..10}/{FSID}-{CLASS}-{OCCURRENCE}-{SLICE}.wav   sample rates and channels vary
    metadata/UrbanSound8K.csv   slice_file_name,fsID,start,end,salience,fold,classID,class

A copy on Kaggle has the folds' folders and the table side by side.

Pitfalls: several excerpts are cut from one recording (`fsID`), all of them in one fold, so a split
that is drawn over excerpts leaks; car_horn (429), gun_shot (374) and siren (929) have fewer
excerpts than the other classes (1,000 each). The published protocol tests on each fold in turn;
here one test set is locked: `split.test_fold` makes it an official fold.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from chorale.datasets.base import DatasetInfo, Download, existing_folder, track_table
from chorale.datasets.config import config
from chorale.datasets.errors import UserError, join_first
from chorale.datasets.tables.csv_table import find_table, read_columns
from chorale.datasets.tables.listed_files import are_present

if TYPE_CHECKING:
    import pandas as pd

CLASSES = (
    "air_conditioner",
    "car_horn",
    "children_playing",
    "dog_bark",
    "drilling",
    "engine_idling",
    "gun_shot",
    "jackhammer",
    "siren",
    "street_music",
)
"""In the order of `classID`, 0 to 9."""

N_FOLDS = 10

INFO = DatasetInfo(
    name="urbansound8k",
    title="UrbanSound8K: urban sounds of at most 4 s in 10 classes, with ten official folds",
    licence="CC BY-NC 3.0",
    citation=(
        "J. Salamon, C. Jacoby, J. P. Bello: A Dataset and Taxonomy for Urban Sound Research, ACM "
        "Multimedia, 2014, doi:10.1145/2647868.2655045"
    ),
    homepage="https://urbansounddataset.weebly.com/urbansound8k.html",
    labels=CLASSES,
    n_tracks=8732,
    size="6 GB, as a tar",
    checksums={"UrbanSound8K.tar.gz": "md5:9aa69802bbf37fb986f71ec1483a196e"},
    downloads=(
        Download(
            "https://zenodo.org/record/1203745/files/UrbanSound8K.tar.gz",
            "UrbanSound8K.tar.gz",
            unpack_to="UrbanSound8K",
            inside="UrbanSound8K",
        ),
    ),
)

_TABLES = (
    "metadata/UrbanSound8K.csv",
    "UrbanSound8K/metadata/UrbanSound8K.csv",
    "UrbanSound8K.csv",
)
"""Possible places of the table below `root`: of the archive, and of the copy on Kaggle."""
_COLUMNS = ("slice_file_name", "fsID", "fold", "class")


@config
class Config:
    """Where the excerpts are."""

    root: str
    """folder that contains audio and metadata, or its parent; or fold1 to fold10 and the table"""


def tracks(config: Config) -> "pd.DataFrame":
    """One row per excerpt: its class, its official fold (0 to 9), its recording as group.

    Missing files are left out and counted.

    Raises:
        UserError: the excerpts or their table are missing, or the table is damaged.
    """
    existing_folder(config.root, dataset=INFO.name)
    meta = find_table(config.root, _TABLES, dataset=INFO.name)
    table = read_columns(meta, dataset=INFO.name, text=_COLUMNS)
    _check_rows(meta, table)
    audio = meta.parent.parent / "audio" if meta.parent.name == "metadata" else meta.parent
    existing = {f"{path.parent.name}/{path.name}" for path in audio.glob("fold*/*.wav")}
    place = "fold" + table["fold"] + "/" + table["slice_file_name"]
    present = are_present(
        place.tolist(),
        existing,
        audio=audio,
        dataset=INFO.name,
        expected="audio and metadata",
        noun="excerpts",
    )
    return track_table(
        {
            "track_id": Path(name).stem,
            "path": str(audio / f"fold{fold}" / name),
            "label": label,
            "group": f"recording-{recording}",
            "fold": int(fold) - 1,
        }
        for name, recording, fold, label in table.loc[present].itertuples(index=False)
    )


def _check_rows(meta: Path, table: "pd.DataFrame") -> None:
    """Each row needs a fold from 1 to 10, a class of the ten, and a recording."""
    folds = [str(fold) for fold in range(1, N_FOLDS + 1)]
    odd = ~table["fold"].isin(folds) | ~table["class"].isin(CLASSES) | (table["fsID"] == "")
    if odd.any():
        raise UserError(
            f"dataset 'urbansound8k': '{meta}' has {int(odd.sum())} rows with a fold that is not 1 "
            f"to {N_FOLDS}, an unknown class, or no fsID: "
            f"{join_first(repr(name) for name in table.loc[odd, 'slice_file_name'])}; get a "
            f"complete copy"
        )
