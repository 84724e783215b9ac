"""What a dataset brings: recordings, pictures, or tables of ready-made features.

`search.data.prepare` asks a source to judge its tracks, to find the same ones, and to make their
feature stores; it does so alike for each kind.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import pandas as pd

from chorale.datasets.audit.audit import Audit, survey
from chorale.datasets.audit.duplicates import COLUMNS, duplicates, same_content
from chorale.datasets.chunks import ChunkMap
from chorale.datasets.store import cache, pictures, ready_features
from chorale.datasets.store.feature_store import FeatureStore


class Source(Protocol):
    """One dataset's tracks, seen from what comes after them."""

    def survey(
        self, tracks: pd.DataFrame, *, min_duration_s: float, cache_root: Path, run: ChunkMap
    ) -> Audit:
        """Which of `tracks` can be used; these get `duration_s` and `content`.

        Raises:
            UserError: there are no tracks.
        """
        ...

    def duplicates(self, tracks: pd.DataFrame, *, cache_root: Path, run: ChunkMap) -> pd.DataFrame:
        """The pairs among surveyed `tracks` that are one recording (see `duplicates.COLUMNS`)."""
        ...

    def build(
        self, tracks: pd.DataFrame, feature: str, config: Any, *, root: Path, run: ChunkMap
    ) -> FeatureStore:
        """The store of a feature set of surveyed `tracks`; made once."""
        ...


class Recordings:
    """Audio files: listened to, compared by their sound; features are computed from them."""

    def survey(
        self, tracks: pd.DataFrame, *, min_duration_s: float, cache_root: Path, run: ChunkMap
    ) -> Audit:
        """See `audit.survey`."""
        return survey(tracks, min_duration_s=min_duration_s, cache_root=cache_root, run=run)

    def duplicates(self, tracks: pd.DataFrame, *, cache_root: Path, run: ChunkMap) -> pd.DataFrame:
        """See `duplicates.duplicates`."""
        return duplicates(tracks, cache_root=cache_root, run=run)

    def build(
        self, tracks: pd.DataFrame, feature: str, config: Any, *, root: Path, run: ChunkMap
    ) -> FeatureStore:
        """See `cache.build`."""
        return cache.build(tracks, feature, config, root=root, run=run)


class Tables:
    """Ready-made numbers: a row is a segment of a track. There is nothing to be listened to."""

    def __init__(self, frames: Mapping[str, pd.DataFrame]) -> None:
        """Feature set -> a row for each segment, indexed by `track_id`."""
        self._frames = frames

    def survey(
        self, tracks: pd.DataFrame, *, min_duration_s: float, cache_root: Path, run: ChunkMap
    ) -> Audit:
        """All tracks are good: what lacks a number was left out when the table was read."""
        del min_duration_s, cache_root, run
        return ready_features.survey(tracks, self._frames)

    def duplicates(self, tracks: pd.DataFrame, *, cache_root: Path, run: ChunkMap) -> pd.DataFrame:
        """The tracks with the very same numbers."""
        del cache_root, run
        return pd.DataFrame(same_content(tracks, kind="same numbers"), columns=list(COLUMNS))

    def build(
        self, tracks: pd.DataFrame, feature: str, config: Any, *, root: Path, run: ChunkMap
    ) -> FeatureStore:
        """See `ready.build_ready`."""
        del config, run
        return ready_features.build_ready(tracks, feature, self._frames[feature], root=root)


class Pictures:
    """Ready-made pictures: a file for each track; a column of pixels is a frame."""

    def __init__(self, reader: pictures.Reader) -> None:
        """How a picture is read, and what it shows."""
        self._reader = reader

    def survey(
        self, tracks: pd.DataFrame, *, min_duration_s: float, cache_root: Path, run: ChunkMap
    ) -> Audit:
        """See `pictures.survey`."""
        del min_duration_s, cache_root
        return pictures.survey(tracks, self._reader, run=run)

    def duplicates(self, tracks: pd.DataFrame, *, cache_root: Path, run: ChunkMap) -> pd.DataFrame:
        """The tracks with the very same file."""
        del cache_root, run
        return pd.DataFrame(same_content(tracks), columns=list(COLUMNS))

    def build(
        self, tracks: pd.DataFrame, feature: str, config: Any, *, root: Path, run: ChunkMap
    ) -> FeatureStore:
        """The pictures as a store, read in chunks."""
        del config
        recipe = pictures.PictureRecipe.of(feature, self._reader, str(tracks["path"].iloc[0]))
        return cache.build_store(tracks, recipe, root=root, run=run)


def source_of(dataset: ModuleType, config: Any) -> Source:
    """What a file in `datasets/catalog` brings, as its own functions tell.

    Args:
        dataset: the file.
        config: its `Config`.

    Raises:
        UserError: a table cannot be read.
    """
    if hasattr(dataset, "features"):
        return Tables(dataset.features(config))
    if hasattr(dataset, "load"):
        load = partial(dataset.load, config=config)
        return Pictures(pictures.Reader(load, dataset.DURATION_S))
    return Recordings()
