"""Precomputed feature tables of a dataset, written to the same feature store as extracted ones.

A row of a table is a frame: a track with ten rows (segments) has ten frames, so training is the
same as on extracted features.
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

from chorale.datasets.atomic import publish_folder, write_json
from chorale.datasets.audit.audit import AuditResult
from chorale.datasets.content import json_digest
from chorale.datasets.errors import UserError
from chorale.datasets.store.assembly import FrameArray, Piece, write_arrays
from chorale.datasets.store.feature_store import STORE_FORMAT, FeatureStore

FRAME_RATE_HZ = 0.0
"""A table has no time axis: its rows are segments without an order."""


def row_hashes(tracks: pd.DataFrame, frame: pd.DataFrame) -> pd.Series:
    """The content hash of tracks without audio: the SHA-256 of a track's rows.

    Args:
        tracks: a track table.
        frame: one row per segment, indexed by `track_id`.

    Returns:
        one hash per track, in the order of `tracks`.
    """
    values, offsets = _in_order(tracks, frame)
    hashes = [
        hashlib.sha256(np.ascontiguousarray(values[start:stop]).tobytes()).hexdigest()
        for start, stop in pairwise(offsets)
    ]
    return pd.Series(hashes, index=tracks.index, dtype="str")


def audit_tables(tracks: pd.DataFrame, frames: Mapping[str, pd.DataFrame]) -> AuditResult:
    """The audit result of precomputed features: all tracks are good; adds their content hash.

    Args:
        tracks: a track table.
        frames: feature set -> a table with one row per segment, indexed by `track_id`.

    Raises:
        UserError: there are no tracks, or one of them has no row.
    """
    if tracks.empty:
        raise UserError("audit: the dataset has no tracks; check --dataset.root")
    hashes = [row_hashes(tracks, frame) for _, frame in sorted(frames.items())]
    joined = (
        hashes[0] if len(hashes) == 1 else pd.Series(map(json_digest, zip(*hashes, strict=True)))
    )
    nothing = pd.DataFrame(columns=["track_id", "path", "problem", "detail"])
    return AuditResult(tracks.assign(content=joined.to_numpy(dtype=str)), nothing, nothing)


def build_table_store(
    tracks: pd.DataFrame, feature: str, frame: pd.DataFrame, *, root: Path
) -> FeatureStore:
    """The feature store of a precomputed table; the same table gives the same store.

    Args:
        tracks: audited tracks, with the column `content`.
        feature: the feature set's name.
        frame: float64, one row per segment, indexed by `track_id`; its columns are the bins.
        root: the folder of all stores.

    Raises:
        UserError: a track has no row.
    """
    columns = [str(column) for column in frame.columns]
    key = json_digest(["ready", feature, columns])
    track_ids, hashes = tracks["track_id"].tolist(), tracks["content"].tolist()
    folder = root / f"{feature}-{json_digest([STORE_FORMAT, key, track_ids, hashes])}"
    if folder.exists():
        return FeatureStore.open(folder)
    values, offsets = _in_order(tracks, frame)
    pieces = [Piece(values, int(start), int(stop)) for start, stop in pairwise(offsets)]
    root.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(dir=root, prefix=f".{feature}-"))
    try:
        write_arrays(new, pieces, len(columns))
        write_json(new / "tracks.json", {"track_ids": track_ids, "contents": hashes})
        manifest = {
            "format": STORE_FORMAT,
            "feature": feature,
            "columns": columns,
            "recipe_key": key,
            "frame_rate_hz": FRAME_RATE_HZ,
            "n_bins": len(columns),
            "n_channels": 1,
        }
        write_json(new / "manifest.json", manifest)
        publish_folder(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return FeatureStore.open(folder)


def _in_order(
    tracks: pd.DataFrame, frame: pd.DataFrame
) -> tuple[FrameArray, npt.NDArray[np.int64]]:
    """The rows of `tracks`, float32, grouped by track in table order, and the track offsets."""
    position = pd.Index(tracks["track_id"]).get_indexer(frame.index)
    chosen = frame[position >= 0]
    position = position[position >= 0]
    counts = np.bincount(position, minlength=len(tracks))
    if not counts.all():
        lacking = tracks["track_id"][counts == 0]
        raise UserError(
            f"{len(lacking)} tracks have no row of features, such as '{lacking.iloc[0]}'; "
            f"get a complete copy of the table"
        )
    order = np.argsort(position, kind="stable")
    values = np.ascontiguousarray(chosen.to_numpy(dtype=np.float32)[order])
    return values, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
