"""Extraction of a sweep's features, and of the augmented views of its training tracks.

`search.data.prepare` calls it with the split tracks.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from chorale.datasets.chunks import ChunkMap
from chorale.datasets.features import layout_of
from chorale.datasets.source import DataSource
from chorale.datasets.splitting.split import Split
from chorale.datasets.store.feature_store import FeatureStore
from chorale.datasets.store.joining import build_store
from chorale.search.config.resolve import ResolvedSweep
from chorale.search.console.progress import Progress, duration_text
from chorale.search.data.time_limit import TooSlowError, limited_map

MIN_FORECAST_S = 5.0
"""Shorter extractions of views are not forecast."""

FEATURES_SHARE = 0.4
"""A further feature set may take this share of the time that is left."""


@dataclass(frozen=True)
class ExtractedFeatures:
    """Feature set -> the folder of its store, and -> those of the further views of its tracks."""

    stores: Mapping[str, Path]
    views: Mapping[str, tuple[Path, ...]]

    @property
    def folders(self) -> dict[str, Path]:
        """All of them, by name."""
        named = {
            f"{name}, view {i}": folder
            for name, folders in self.views.items()
            for i, folder in enumerate(folders, start=1)
        }
        return {**self.stores, **named}


def extract_features(
    resolved: ResolvedSweep,
    source: DataSource,
    tracks: pd.DataFrame,
    split: Split,
    *,
    root: Path,
    progress: Progress,
    run: ChunkMap,
    left_s: Callable[[], float] | None = None,
) -> ExtractedFeatures:
    """Builds every feature store of a sweep below `root`, or opens it where it exists.

    Views other than the recording itself are those of tracks that some model is trained on: no
    test track has one.

    `left_s` returns the seconds that are left of a sweep whose file names neither features nor
    architectures: then tables come first, as they are small, and a further feature set that would
    take too long is left out. What was extracted of it stays in the cache.
    """
    is_trained = tracks["track_id"].isin(split.trained_ids)
    trained = tracks[is_trained].reset_index(drop=True)
    stores: dict[str, Path] = {}
    views: dict[str, tuple[Path, ...]] = {}
    every = list(resolved.features)
    if left_s is not None:
        every.sort(key=lambda name: layout_of(name) != "table")
    for feature in every:
        config = resolved.features[feature]
        watched = progress.watch(run, feature)
        if left_s is not None and stores:
            watched = limited_map(watched, FEATURES_SHARE * left_s())
        try:
            with progress.activity("features"):
                store = source.build_store(tracks, feature, config, root=root, run=watched)
        except TooSlowError as error:
            about = duration_text(error.expected_s)
            progress.stage(
                "features",
                f"{feature} is left out: it would take about {about}; a higher --budget.minutes "
                f"has time for it, and what is extracted already is kept",
            )
            continue
        stores[feature] = store.folder
        progress.stage("features", f"{feature}: {_size(store)}")
        n_views = resolved.views.get(feature, 1)
        if n_views == 1:
            continue
        progress.stage(
            "features",
            f"{feature}: {n_views - 1} more views of the {len(trained)} tracks that are trained "
            f"on, each one more extraction",
        )
        made: list[Path] = []
        for view in range(1, n_views):
            began = time.perf_counter()
            with progress.activity("features"):
                watched = progress.watch(run, f"{feature}, view {view} of {n_views - 1}")
                store = build_store(trained, feature, config, root=root, run=watched, view=view)
            made.append(store.folder)
            took_s = time.perf_counter() - began
            left = n_views - 1 - view
            if left and took_s > MIN_FORECAST_S:
                about = duration_text(left * took_s)
                progress.stage("features", f"{feature}: views left: {left}, about {about}")
        views[feature] = tuple(made)
    in_order = {name: stores[name] for name in resolved.features if name in stores}
    return ExtractedFeatures(in_order, views)


def _size(store: FeatureStore) -> str:
    n_frames = int(store.offsets[-1])
    if not store.frame_rate_hz:
        return f"{n_frames} rows of {store.n_bins} numbers"
    channels = f" in {store.n_channels} channels" if store.n_channels > 1 else ""
    return f"{n_frames} frames of {store.n_bins // store.n_channels} bins{channels}"
