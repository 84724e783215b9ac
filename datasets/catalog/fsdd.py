"""The Free Spoken Digit Dataset: 3,000 short recordings of ten digits by six speakers.

The track table has the speaker as group, so that no voice is on two sides of a split.
"""

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

from chorale.datasets.base import DatasetInfo, Download, existing_folder, track_table
from chorale.datasets.config import config
from chorale.datasets.download.archive import unpack_cached
from chorale.datasets.download.archive_members import ArchiveLimits
from chorale.datasets.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

INFO = DatasetInfo(
    name="fsdd",
    title="Free Spoken Digit Dataset",
    licence="CC BY-SA 4.0",
    citation=(
        "Z. Jackson, C. Souza, J. Flaks, Y. Pan, H. Nicolas, A. Thite: Free Spoken Digit Dataset, "
        "2018, doi:10.5281/zenodo.1342401"
    ),
    homepage="https://github.com/Jakobovski/free-spoken-digit-dataset",
    labels=tuple("0123456789"),
    n_tracks=3000,
    size="21 MB of audio, 16 MB zipped",
    # the last release, which has all six speakers; no checksum was published
    downloads=(
        Download(
            "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.zip",
            "free-spoken-digit-dataset-1.0.10.zip",
            unpack_to="recordings",
            inside="free-spoken-digit-dataset-1.0.10/recordings",
        ),
    ),
)

_FILE_NAME = re.compile(r"(?P<digit>[0-9])_(?P<speaker>[A-Za-z]+)_(?P<index>[0-9]+)\.wav")
_SUBFOLDERS = ("recordings", "fsdd", "*/recordings")
"""Possible folders of the recordings below `root`: in a clone of the repository or its zip."""

_ARCHIVE_LIMITS = ArchiveLimits(entries=20_000, n_bytes=1024**3)
"""Limits of unpacking its archive, which has 3,000 files of 21 MB in total."""

_log = logging.getLogger(__name__)


@config
class Config:
    """Where the recordings are."""

    root: str
    """folder with {digit}_{speaker}_{index}.wav, its parent, or the zip file itself"""


def tracks(config: Config) -> "pd.DataFrame":
    """One row per recording: the digit is its label, the speaker its group.

    The official test set (index 0 to 4) is not used: it has the same voices as the training set. An
    incomplete copy is used as it is; other wav files are skipped.

    Raises:
        UserError: `root` is missing or has no recording; or a zip is damaged or malicious.
    """
    given = Path(config.root).expanduser()
    if given.is_file():
        root = unpack_cached(given, dataset=INFO.name, limits=_ARCHIVE_LIMITS)
    else:
        root = existing_folder(given, dataset=INFO.name)
    below = (folder for pattern in _SUBFOLDERS for folder in sorted(root.glob(pattern)))
    for folder in (root, *below):
        found = {
            path.name: _FILE_NAME.fullmatch(path.name) for path in sorted(folder.glob("*.wav"))
        }
        matches = [match for match in found.values() if match]
        if matches:
            break
    else:
        raise _nothing_found(given)
    if len(found) > len(matches):
        others = [name for name, match in found.items() if not match]
        _log.warning("fsdd: skipped %d other wav files (first: %s)", len(others), others[0])
    return track_table(
        {
            "track_id": match.string.removesuffix(".wav"),
            "path": str(folder / match.string),
            "label": match["digit"],
            "group": match["speaker"],
        }
        for match in matches
    )


def _nothing_found(root: Path) -> UserError:
    zips = sorted(root.glob("*.zip"))
    hint = f"; or did you mean the zip: --dataset.root {zips[0]}?" if zips else ""
    return UserError(
        f"dataset 'fsdd': no file such as 0_theo_3.wav in '{root}', nor in 'recordings' or 'fsdd' "
        f"in it; give the folder of the recordings, or the zip, with --dataset.root PATH{hint}"
    )
