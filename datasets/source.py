"""Data sources: audio files, images or precomputed feature tables behind one interface.

`search.data.prepare` uses a source to audit its tracks, to find duplicates and to build feature
stores, without knowing its kind.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import pandas as pd

from chorale.datasets.audit.audit import AuditResult, audit_recordings
from chorale.datasets.audit.duplicates import (
    DUPLICATE_COLUMNS,
    equal_content_pairs,
    find_duplicates,
)
from chorale.datasets.chunks import ChunkMap
from chorale.datasets.store import cache, images, joining, precomputed_features
from chorale.datasets.store.feature_store import FeatureStore


class DataSource(Protocol):
    """How the tracks of one dataset are audited, compared and stored as features."""

    def audit(
        self, tracks: pd.DataFrame, *, min_duration_s: float, cache_root: Path, run: ChunkMap
    ) -> AuditResult:
        """The tracks that can be used, with `duration_s` and `content`, and the faulty ones.

        Raises:
            UserError: there are no tracks.
        """
        ...

    def find_duplicates(
        self, tracks: pd.DataFrame, *, cache_root: Path, run: ChunkMap
    ) -> pd.DataFrame:
        """The pairs of audited `tracks` with the same recording (see `DUPLICATE_COLUMNS`)."""
        ...

    def build_store(
        self, tracks: pd.DataFrame, feature: str, config: Any, *, root: Path, run: ChunkMap
    ) -> FeatureStore:
        """The feature store of audited `tracks`; an existing one is opened."""
        ...


class AudioSource:
    """Audio files: decoded, compared by audio fingerprint; features are computed from them."""

    def audit(
        self, tracks: pd.DataFrame, *, min_duration_s: float, cache_root: Path, run: ChunkMap
    ) -> AuditResult:
        """See `audit.audit_recordings`."""
        return audit_recordings(
            tracks, min_duration_s=min_duration_s, cache_root=cache_root, run=run
        )

    def find_duplicates(
        self, tracks: pd.DataFrame, *, cache_root: Path, run: ChunkMap
    ) -> pd.DataFrame:
        """See `duplicates.find_duplicates`."""
        return find_duplicates(tracks, cache_root=cache_root, run=run)

    def build_store(
        self, tracks: pd.DataFrame, feature: str, config: Any, *, root: Path, run: ChunkMap
    ) -> FeatureStore:
        """See `joining.build_store`."""
        return joining.build_store(tracks, feature, config, root=root, run=run)


class TableSource:
    """Precomputed features: a row is a segment of a track. There is no audio."""

    def __init__(self, frames: Mapping[str, pd.DataFrame]) -> None:
        """Feature set -> a row for each segment, indexed by `track_id`."""
        self._frames = frames

    def audit(
        self, tracks: pd.DataFrame, *, min_duration_s: float, cache_root: Path, run: ChunkMap
    ) -> AuditResult:
        """All tracks are good: rows that lack a number were dropped when the table was read."""
        del min_duration_s, cache_root, run
        return precomputed_features.audit_tables(tracks, self._frames)

    def find_duplicates(
        self, tracks: pd.DataFrame, *, cache_root: Path, run: ChunkMap
    ) -> pd.DataFrame:
        """The pairs of tracks with identical numbers."""
        del cache_root, run
        return pd.DataFrame(
            equal_content_pairs(tracks, kind="same numbers"), columns=list(DUPLICATE_COLUMNS)
        )

    def build_store(
        self, tracks: pd.DataFrame, feature: str, config: Any, *, root: Path, run: ChunkMap
    ) -> FeatureStore:
        """See `precomputed_features.build_table_store`."""
        del config, run
        return precomputed_features.build_table_store(
            tracks, feature, self._frames[feature], root=root
        )


class ImageSource:
    """Precomputed spectrogram images: one file per track; a column of pixels is a frame."""

    def __init__(self, reader: images.ImageReader) -> None:
        """How an image is read, and the duration it shows."""
        self._reader = reader

    def audit(
        self, tracks: pd.DataFrame, *, min_duration_s: float, cache_root: Path, run: ChunkMap
    ) -> AuditResult:
        """See `images.audit_images`."""
        del min_duration_s, cache_root
        return images.audit_images(tracks, self._reader, run=run)

    def find_duplicates(
        self, tracks: pd.DataFrame, *, cache_root: Path, run: ChunkMap
    ) -> pd.DataFrame:
        """The pairs of tracks with identical files."""
        del cache_root, run
        return pd.DataFrame(equal_content_pairs(tracks), columns=list(DUPLICATE_COLUMNS))

    def build_store(
        self, tracks: pd.DataFrame, feature: str, config: Any, *, root: Path, run: ChunkMap
    ) -> FeatureStore:
        """The images as a feature store, read in chunks."""
        del config
        recipe = images.ImageRecipe.of(feature, self._reader, str(tracks["path"].iloc[0]))
        return cache.build_store_from_recipe(tracks, recipe, root=root, run=run)


def source_of(dataset: ModuleType, config: Any) -> DataSource:
    """The source of a file in `datasets/catalog`, by the functions that it has.

    Args:
        dataset: the file.
        config: its `Config`.

    Raises:
        UserError: a table cannot be read.
    """
    if hasattr(dataset, "features"):
        return TableSource(dataset.features(config))
    if hasattr(dataset, "load"):
        load = partial(dataset.load, config=config)
        return ImageSource(images.ImageReader(load, dataset.DURATION_S))
    return AudioSource()
