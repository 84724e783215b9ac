"""FSD50K: 51,197 recordings of sound events from Freesound with labels of 200 classes.

It is multi-label: a recording has the classes that sound in it and all that are above them in
the AudioSet Ontology. The track table has the official split; the group is the uploader. Files:

    FSD50K.dev_audio/{FNAME}.wav, FSD50K.eval_audio/{FNAME}.wav     44,100 Hz, mono, 0.3 to 30 s
    FSD50K.ground_truth/dev.csv         fname,labels,mids,split (train or val); labels: "Bark,Dog"
    FSD50K.ground_truth/eval.csv        fname,labels,mids: the test set
    FSD50K.ground_truth/vocabulary.csv  index,label,mid of the 200 classes, without a header
    FSD50K.metadata/{dev,eval}_clips_info_FSD50K.json   fname -> uploader, licence, title, tags

Pitfalls: labels of dev are correct but not always complete, those of eval are complete; no
uploader is in both. Without FSD50K.metadata each recording is its own group.
"""

import csv
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chorale.datasets.base import DatasetInfo, existing_folder, track_table
from chorale.datasets.config import config
from chorale.datasets.errors import UserError, join_first
from chorale.datasets.label_sets import join_labels
from chorale.datasets.tables.csv_table import find_table, read_columns
from chorale.datasets.tables.listed_files import are_present

if TYPE_CHECKING:
    import pandas as pd

INFO = DatasetInfo(
    name="fsd50k",
    title="FSD50K: sound events of 200 classes, several in a recording, with an official split",
    licence="CC BY 4.0; each recording has its own: CC0, CC BY, CC BY-NC or CC Sampling+",
    citation=(
        "E. Fonseca, X. Favory, J. Pons, F. Font, X. Serra: FSD50K: An Open Dataset of "
        "Human-Labeled Sound Events, IEEE/ACM Transactions on Audio, Speech, and Language "
        "Processing 30, 2022, arXiv:2010.00475"
    ),
    homepage="https://zenodo.org/records/4060432",
    n_tracks=51_197,
    size="24 GB, as parts of zips",
    how_to_get=(
        "download all files of https://zenodo.org/records/4060432, join the parts by zip -s 0 "
        "FSD50K.dev_audio.zip --out dev.zip (likewise FSD50K.eval_audio.zip), and unzip them, "
        "FSD50K.ground_truth.zip and FSD50K.metadata.zip into one folder"
    ),
)

PARTS = ("dev", "eval")
_COLUMNS = ("fname", "labels", "split", "part", "file")
"""Columns of the rows that are read of both parts."""
_SPLITS = {"train": "train", "val": "valid"}
_SUBFOLDERS = ("", "FSD50K")
"""Possible parents of the folders below `root`."""

_log = logging.getLogger("chorale")


@config
class Config:
    """Where the recordings are."""

    root: str
    """folder that contains FSD50K.dev_audio, FSD50K.eval_audio and FSD50K.ground_truth, or its
    parent"""


def tracks(config: Config) -> "pd.DataFrame":
    """One row per recording: its labels, its uploader as group, the official split.

    Missing files are left out and counted.

    Raises:
        UserError: the recordings or their tables are missing, or a table is damaged.
    """
    import pandas as pd

    existing_folder(config.root, dataset=INFO.name)
    places = [f"{name}/FSD50K.ground_truth/dev.csv".lstrip("/") for name in _SUBFOLDERS]
    truth = find_table(config.root, places, dataset=INFO.name).parent
    root = truth.parent
    table = pd.concat([_read_part(truth, part) for part in PARTS], ignore_index=True)
    _check_rows(truth, table, _vocabulary(truth))
    uploaders = _uploaders(root)
    names = table["file"].tolist()
    existing = {
        f"{path.parent.name}/{path.name}"
        for part in PARTS
        for path in (root / f"FSD50K.{part}_audio").glob("*.wav")
    }
    present = are_present(
        names, existing, audio=root, dataset=INFO.name, expected="FSD50K.dev_audio"
    )
    rows = table.loc[present, list(_COLUMNS)].astype("str").to_numpy().tolist()
    return track_table(
        {
            "track_id": f"{part}-{fname}",
            "path": str(root / file),
            "label": join_labels(labels.split(",")),
            "group": f"uploader-{uploaders[fname]}" if fname in uploaders else f"recording-{fname}",
            "split": split,
        }
        for fname, labels, split, part, file in rows
    )


def _read_part(truth: Path, part: str) -> "pd.DataFrame":
    """`fname`, `labels`, `split`, `part` and `file` of each row of one part."""
    path = truth / f"{part}.csv"
    if not path.is_file():
        raise UserError(f"dataset 'fsd50k': there is no '{path}'; unpack FSD50K.ground_truth.zip")
    columns = ("fname", "labels", "split") if part == "dev" else ("fname", "labels")
    table = read_columns(path, dataset=INFO.name, text=columns)
    table["split"] = table["split"].map(_SPLITS.get) if part == "dev" else "test"
    table["part"] = part
    table["file"] = f"FSD50K.{part}_audio/" + table["fname"] + ".wav"
    return table


def _vocabulary(truth: Path) -> set[str]:
    path = truth / "vocabulary.csv"
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"dataset 'fsd50k': '{path}' cannot be read ({error}); unpack FSD50K.ground_truth.zip"
        ) from None
    return {row[1].strip() for row in rows if len(row) > 1}


def _check_rows(truth: Path, table: "pd.DataFrame", vocabulary: set[str]) -> None:
    """Each row needs a split, and labels of the vocabulary."""
    of_row = table["labels"].map(lambda text: {name.strip() for name in text.split(",")})
    odd = table["split"].isna() | ~of_row.map(lambda names: names <= vocabulary)
    if odd.any():
        raise UserError(
            f"dataset 'fsd50k': the tables in '{truth}' have {int(odd.sum())} rows with a split "
            f"that is not train or val, without labels, or with a label that is not in "
            f"vocabulary.csv: {join_first(repr(name) for name in table.loc[odd, 'fname'])}; get a "
            f"complete copy"
        )


def _uploaders(root: Path) -> dict[str, str]:
    """The uploader of each recording in the metadata that are there."""
    found: dict[str, str] = {}
    for part in PARTS:
        path = root / "FSD50K.metadata" / f"{part}_clips_info_FSD50K.json"
        if not path.is_file():
            _log.warning(
                "fsd50k: there is no '%s', so that each recording of %s is its own group, and an "
                "uploader may be on both sides of a fold; unpack FSD50K.metadata.zip",
                path,
                part,
            )
            continue
        found |= _read_uploaders(path)
    return found


def _read_uploaders(path: Path) -> dict[str, str]:
    try:
        clips: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {name: str(clip["uploader"]) for name, clip in clips.items() if clip["uploader"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"dataset 'fsd50k': '{path}' has no uploaders of its recordings ({error!r}); get a "
            f"complete copy, or remove it, so that each recording is its own group"
        ) from None
