"""Stores made from other stores, so that no encoder runs twice: joined feature sets, and layers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from chorale.datasets.base import ALL_LAYERS
from chorale.datasets.chunks import ChunkMap
from chorale.datasets.content import HashedFile
from chorale.datasets.features import plugin_name
from chorale.datasets.store.cache import build_store_from_recipe
from chorale.datasets.store.extraction import FeatureRecipe
from chorale.datasets.store.feature_store import FeatureStore


@dataclass(frozen=True)
class _DerivedRecipe(FeatureRecipe):
    """A feature set whose frames are made from those of other stores."""

    stores: Sequence[FeatureStore] = ()

    @cached_property
    def _rows(self) -> list[Mapping[str, int]]:
        """Of each store, content -> row."""
        return [{key: i for i, key in enumerate(store.contents)} for store in self.stores]

    def _parts(self, source: HashedFile) -> list[npt.NDArray[np.float32]]:
        """The frames of one file in each store."""
        found = []
        for store, rows in zip(self.stores, self._rows, strict=True):
            start, stop = store.offsets[rows[source.content] :][:2]
            found.append(store.frames[start:stop])
        return found


@dataclass(frozen=True)
class JoinedRecipe(_DerivedRecipe):
    """A joined feature set (see `datasets.features.joined`)."""

    def frames(self, source: HashedFile) -> npt.NDArray[np.float32]:
        """The joined frames of one file: `(n_frames, n_bins)`."""
        from chorale.datasets.features.joined import join_frames

        return join_frames(self._parts(source))


@dataclass(frozen=True)
class LayerRecipe(_DerivedRecipe):
    """One layer of an encoder, whose store has all of them side by side."""

    columns: tuple[int, int] = (0, 0)

    def frames(self, source: HashedFile) -> npt.NDArray[np.float32]:
        """The layer's frames of one file: `(n_frames, n_bins)`."""
        (every,) = self._parts(source)
        return every[:, slice(*self.columns)]


def build_store(
    tracks: pd.DataFrame,
    feature: str,
    config: Any,
    *,
    root: Path,
    run: ChunkMap = map,
    view: int = 0,
) -> FeatureStore:
    """The feature store of `tracks`, from other stores where it joins or divides them.

    The stores that it is made from are built where they are missing, and kept.

    Args:
        tracks: audited tracks, with the column `content`.
        feature: the feature set's name.
        config: its `Config`.
        root: the folder of all stores.
        run: maps work over chunks of files.
        view: which view of the recordings is read (see `datasets.store.views`).

    Raises:
        UserError: as `cache.build_feature_store`.
    """
    recipe: FeatureRecipe
    if hasattr(config, "parts"):
        stores = tuple(
            build_store(tracks, name, part, root=root, run=run, view=view)
            for name, part in config.configs.items()
        )
        recipe = JoinedRecipe(feature, config, view, stores)
    elif plugin_name(feature) == "encoder" and _has_several_layers(config):
        from chorale.datasets.features.encoder import layer_columns

        whole = replace(config, layer=ALL_LAYERS)
        name = f"{feature.partition('.')[0]}.{ALL_LAYERS}"
        every = FeatureRecipe(name, whole, view)
        store = build_store_from_recipe(tracks, every, root=root, run=run)
        columns = layer_columns(config.info, config.layer)
        recipe = LayerRecipe(feature, config, view, (store,), columns)
    else:
        recipe = FeatureRecipe(feature, config, view)
        return build_store_from_recipe(tracks, recipe, root=root, run=run)
    return build_store_from_recipe(tracks, recipe, root=root)


def _has_several_layers(config: Any) -> bool:
    """Whether the config is of one layer of an encoder that has others."""
    info = getattr(config, "info", None)
    return info is not None and len(info.layers) > 1 and config.layer != ALL_LAYERS
