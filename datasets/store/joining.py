"""The stores of joined feature sets, from the stores of their parts: no file is read again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from chorale.datasets.chunks import ChunkMap
from chorale.datasets.content import HashedFile
from chorale.datasets.features.joined import join_frames
from chorale.datasets.store.cache import build_feature_store, build_store_from_recipe
from chorale.datasets.store.extraction import FeatureRecipe
from chorale.datasets.store.feature_store import FeatureStore


@dataclass(frozen=True)
class JoinedRecipe(FeatureRecipe):
    """A joined feature set, whose frames are read from the stores of its parts."""

    stores: Sequence[FeatureStore] = ()

    @cached_property
    def _rows(self) -> list[Mapping[str, int]]:
        """Of each store, content -> row."""
        return [{key: i for i, key in enumerate(store.contents)} for store in self.stores]

    def frames(self, source: HashedFile) -> npt.NDArray[np.float32]:
        """The joined frames of one file: `(n_frames, n_bins)`."""
        parts = []
        for store, rows in zip(self.stores, self._rows, strict=True):
            start, stop = store.offsets[rows[source.content] :][:2]
            parts.append(store.frames[start:stop])
        return join_frames(parts)


def build_joined_store(
    tracks: pd.DataFrame, feature: str, config: Any, *, root: Path, run: ChunkMap = map
) -> FeatureStore:
    """The store of a joined feature set; the stores of its parts are built where they are missing.

    Args:
        tracks: audited tracks, with the column `content`.
        feature: the name of the joined feature set.
        config: its `joined.Config`.
        root: the folder of all stores.
        run: maps work over chunks of files.

    Raises:
        UserError: as `cache.build_feature_store`.
    """
    stores = tuple(
        build_feature_store(tracks, name, part, root=root, run=run)
        for name, part in config.configs.items()
    )
    return build_store_from_recipe(tracks, JoinedRecipe(feature, config, stores), root=root)
