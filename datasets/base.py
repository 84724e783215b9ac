"""The words that all of `datasets` speaks: the track table, DatasetInfo and the Dataset protocol.

A dataset file turns something on disk into a track table; everything downstream reads only that.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from chorale.datasets.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

TRACK_COLUMNS = ("track_id", "path", "label", "group", "split", "fold", "duration_s")
"""One row a track. `group` is what must not stand on two sides of a split (artist, speaker,
recording); `split` ("train", "valid", "test") and `fold` (0, 1, ...) are official ones or missing;
`path` and `duration_s` (seconds) are missing where there is no audio or nobody has measured."""


@dataclass(frozen=True)
class Download:
    """A file that `chorale data fetch` can get; `file_name` is its name below the root folder.

    Where `unpack_to` is given, it is a zip or tar: its folder `inside` (all of it where empty)
    becomes the folder `unpack_to` below root. `part` is the word that chooses it ("small"); a
    download without one is always fetched, and of the parts the first unless another is named.
    """

    url: str
    file_name: str
    unpack_to: str = ""
    inside: str = ""
    part: str = ""


@dataclass(frozen=True)
class DatasetInfo:
    """What a person should know of a dataset before using it.

    `labels` is empty where they depend on the data, `n_tracks` is None likewise. `checksums` maps a
    file name to its SHA-256, or to `sha1:` and that where nothing better was published.
    `how_to_get` says what to do where there are no `downloads`: a login, a licence to sign.
    `features` names what it brings ready-made; a dataset without any brings audio. `is_made` says
    that Chorale makes what is not there yet.
    """

    name: str
    title: str
    licence: str
    citation: str
    homepage: str
    labels: tuple[str, ...] = ()
    n_tracks: int | None = None
    size: str = ""
    checksums: Mapping[str, str] = field(default_factory=dict)
    downloads: tuple[Download, ...] = ()
    how_to_get: str = ""
    features: tuple[str, ...] = ()
    is_made: bool = False


class Dataset(Protocol):
    """What a file in `datasets/catalog` offers: `INFO`, a frozen `Config`, and `tracks`.

    One that brings ready-made features also offers either `features(config)`, which gives for each
    of `INFO.features` a frame with a row for each segment, indexed by `track_id`; or, for pictures,
    `load(path, config)`, which gives one as float32 `(n_channels, height, width)`, and
    `DURATION_S`, the seconds that a picture shows.
    """

    INFO: DatasetInfo
    Config: type[Any]

    def tracks(self, config: Any) -> "pd.DataFrame":
        """The track table of the dataset that `config` describes (see `TRACK_COLUMNS`).

        Raises:
            UserError: what `config` names is not there or is not this dataset.
        """
        ...


class FeatureSet(Protocol):
    """What a file in `datasets/features` offers: `VERSION`, a frozen `Config`, and `extract`.

    `VERSION` is raised when `extract` gives other numbers. A config says at which `sample_rate` it
    wants the waveform, how many values a frame has (`n_bins`), `frame_rate_hz` (0 where a track is
    described as a whole), and, where there is more than one, their `n_channels`. One whose bins are
    bands of frequency may also offer `scale(config)`, which gives their
    `datasets.dsp.frequency_scale.Scale`.
    """

    VERSION: int
    Config: type[Any]

    def extract(self, waveform: "np.ndarray", config: Any) -> "np.ndarray":
        """`waveform` float32 `(n_samples,)` -> float32 `(n_bins, n_frames)` or `(n_bins,)`."""
        ...


def track_table(rows: Iterable[Mapping[str, Any]]) -> "pd.DataFrame":
    """Makes a track table from rows that give at least `track_id`, `label` and `group`.

    The rows are sorted by `track_id`, so that the same data gives the same table on every machine.

    Raises:
        UserError: two rows have the same `track_id`.
    """
    import pandas as pd

    table = pd.DataFrame(list(rows), columns=list(TRACK_COLUMNS)).astype(
        {
            "track_id": "str",
            "path": "str",
            "label": "str",
            "group": "str",
            "split": "str",
            "fold": "Int64",
            "duration_s": "float64",
        }
    )
    twice = table["track_id"][table["track_id"].duplicated()]
    if len(twice):
        raise UserError(
            f"track_id '{twice.iloc[0]}' stands for two tracks; track ids must be unique: "
            f"rename one of the two files, or its row in the manifest"
        )
    return table.sort_values("track_id", ignore_index=True)


def existing_folder(root: str | Path, *, dataset: str) -> Path:
    """`root` as a path, when it is a folder.

    Raises:
        UserError: it does not exist or is a file.
    """
    folder = Path(root).expanduser()
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise UserError(
            f"dataset '{dataset}': the folder '{folder}' {what}; "
            f"give the right one with --dataset.root FOLDER"
        )
    return folder
