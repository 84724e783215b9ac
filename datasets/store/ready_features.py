"""Features that a dataset brings ready-made, put into the same kind of store as extracted ones.

A row of a table is a frame: a track with ten rows (segments) has ten frames, and what trains on
extracted features trains on these.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from chorale.datasets.atomic import publish, write_json
from chorale.datasets.audit.audit import Audit
from chorale.datasets.content import digest
from chorale.datasets.errors import UserError
from chorale.datasets.store.assembly import Frames, Piece, write_arrays
from chorale.datasets.store.feature_store import STORE_FORMAT, FeatureStore

FRAME_RATE_HZ = 0.0
"""A table has no clock: its rows are segments in no order."""


def contents(tracks: pd.DataFrame, frame: pd.DataFrame) -> pd.Series:
    """What stands for the audio's hash where there is none: the SHA-256 of a track's rows.

    Args:
        tracks: a track table.
        frame: a row for each segment, indexed by `track_id`.

    Returns:
        one hash a track, in the order of `tracks`.
    """
    values, offsets = _in_order(tracks, frame)
    hashes = [
        hashlib.sha256(np.ascontiguousarray(values[start:stop]).tobytes()).hexdigest()
        for start, stop in pairwise(offsets)
    ]
    return pd.Series(hashes, index=tracks.index, dtype="str")


def survey(tracks: pd.DataFrame, frames: Mapping[str, pd.DataFrame]) -> Audit:
    """What the audit says of ready features: that all tracks are good, and what their content is.

    Args:
        tracks: a track table.
        frames: feature set -> a row for each segment, indexed by `track_id`.

    Raises:
        UserError: there are no tracks, or one of them has no row.
    """
    if tracks.empty:
        raise UserError("audit: the dataset has no tracks; check --dataset.root")
    hashes = [contents(tracks, frame) for _, frame in sorted(frames.items())]
    joined = hashes[0] if len(hashes) == 1 else pd.Series(map(digest, zip(*hashes, strict=True)))
    nothing = pd.DataFrame(columns=["track_id", "path", "problem", "detail"])
    return Audit(tracks.assign(content=joined.to_numpy(dtype=str)), nothing, nothing)


def build_ready(
    tracks: pd.DataFrame, feature: str, frame: pd.DataFrame, *, root: Path
) -> FeatureStore:
    """The feature store of a ready-made table; the same table gives the same store again.

    Args:
        tracks: audited tracks, with the column `content`.
        feature: the feature set's name.
        frame: float64, a row for each segment, indexed by `track_id`; its columns are the bins.
        root: the folder of all stores.

    Raises:
        UserError: a track has no row.
    """
    columns = [str(column) for column in frame.columns]
    key = digest(["ready", feature, columns])
    track_ids, hashes = tracks["track_id"].tolist(), tracks["content"].tolist()
    folder = root / f"{feature}-{digest([STORE_FORMAT, key, track_ids, hashes])}"
    if folder.exists():
        return FeatureStore.open(folder)
    values, offsets = _in_order(tracks, frame)
    pieces = [Piece(values, int(start), int(stop)) for start, stop in pairwise(offsets)]
    root.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=root, prefix=f".{feature}-"))
    try:
        write_arrays(made, pieces, len(columns))
        write_json(made / "tracks.json", {"track_ids": track_ids, "contents": hashes})
        manifest = {
            "format": STORE_FORMAT,
            "feature": feature,
            "columns": columns,
            "recipe_key": key,
            "frame_rate_hz": FRAME_RATE_HZ,
            "n_bins": len(columns),
            "n_channels": 1,
        }
        write_json(made / "manifest.json", manifest)
        publish(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return FeatureStore.open(folder)


def _in_order(tracks: pd.DataFrame, frame: pd.DataFrame) -> tuple[Frames, npt.NDArray[np.int64]]:
    """The rows of `tracks`, float32, one track after the other, and where each begins and ends."""
    position = pd.Index(tracks["track_id"]).get_indexer(frame.index)
    chosen = frame[position >= 0]
    position = position[position >= 0]
    counts = np.bincount(position, minlength=len(tracks))
    if not counts.all():
        lacking = tracks["track_id"][counts == 0]
        raise UserError(
            f"{len(lacking)} tracks have no row of features, such as '{lacking.iloc[0]}'; "
            f"get a whole copy of the table"
        )
    order = np.argsort(position, kind="stable")
    values = np.ascontiguousarray(chosen.to_numpy(dtype=np.float32)[order])
    return values, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
