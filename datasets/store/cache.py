"""Feature cache: builds feature stores, computing the features of each content only once.

Between the audit and the trials. `build_feature_store` makes a store, `FeatureStore.open` opens it
in any process.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

import pandas as pd

from chorale.datasets.atomic import publish_folder, write_json
from chorale.datasets.chunks import ChunkMap, in_chunks
from chorale.datasets.content import HashedFile, json_digest
from chorale.datasets.errors import UserError
from chorale.datasets.store.assembly import (
    Piece,
    chunk_files,
    pieces_in,
    pieces_of,
    remove_used,
    write_arrays,
)
from chorale.datasets.store.extraction import FeatureRecipe, Recipe, extract_chunk
from chorale.datasets.store.feature_store import STORE_FORMAT, FeatureStore

_CHUNK_DURATION_S = 1800.0  # 40 MB of mel frames: the maximum in memory of a worker


def build_feature_store(
    tracks: pd.DataFrame,
    feature: str,
    config: Any,
    *,
    root: Path,
    run: ChunkMap = map,
    on_chunk: Callable[[int, int], None] | None = None,
) -> FeatureStore:
    """The feature store of `tracks`; features are computed only where they are not cached.

    A store is immutable: other tracks, another config or other content make another one, into
    which known features are copied. An interrupted build is resumed.

    Args:
        tracks: audited tracks, with the column `content`.
        feature: the feature set's name.
        config: its `Config`.
        root: the folder of all stores.
        run: maps work over chunks of files.
        on_chunk: called after a chunk with the number of files done and of files to compute.

    Raises:
        UserError: no such feature set, or a file has become unreadable since the audit.
    """
    return build_store_from_recipe(
        tracks, FeatureRecipe(feature, config), root=root, run=run, on_chunk=on_chunk
    )


def build_store_from_recipe(
    tracks: pd.DataFrame,
    recipe: Recipe,
    *,
    root: Path,
    run: ChunkMap = map,
    on_chunk: Callable[[int, int], None] | None = None,
) -> FeatureStore:
    """Like `build_feature_store`, for any recipe."""
    track_ids, contents = tracks["track_id"].tolist(), tracks["content"].tolist()
    folder = (
        root / f"{recipe.feature}-{json_digest([STORE_FORMAT, recipe.key, track_ids, contents])}"
    )
    if folder.exists():
        return FeatureStore.open(folder)
    with _locked_folder(root / f".{recipe.feature}-{recipe.key}.work") as work:
        if folder.exists():  # another process was building it while this one waited
            return FeatureStore.open(folder)
        known = pieces_in(work) | _pieces_of_stores(root, recipe, set(contents))
        _extract(tracks[~tracks["content"].isin(list(known))], recipe, work, run, on_chunk)
        pieces = pieces_in(work) | known
        new = work / "store"
        shutil.rmtree(new, ignore_errors=True)  # left by an interrupted build
        new.mkdir()
        write_arrays(new, [pieces[content] for content in contents], recipe.n_bins)
        write_json(new / "tracks.json", {"track_ids": track_ids, "contents": contents})
        write_json(new / "manifest.json", _manifest(recipe))
        publish_folder(new, folder)
        remove_used(work, set(contents))
    return FeatureStore.open(folder)


def _manifest(recipe: Recipe) -> dict[str, Any]:
    return {
        "format": STORE_FORMAT,
        "feature": recipe.feature,
        "recipe_key": recipe.key,
        "n_bins": recipe.n_bins,
        **recipe.manifest(),
    }


def _pieces_of_stores(root: Path, recipe: Recipe, wanted: set[str]) -> dict[str, Piece]:
    """The pieces of the `wanted` contents in existing stores of the same recipe."""
    pieces: dict[str, Piece] = {}
    for manifest in sorted(root.glob(f"{recipe.feature}-*/manifest.json")):
        try:
            store = FeatureStore.open(manifest.parent)
            if store.recipe_key == recipe.key and not wanted.isdisjoint(store.contents):
                pieces |= pieces_of(store.frames, store.contents, store.offsets)
        except UserError:
            continue  # a damaged store only costs time
    return pieces


def _extract(
    tracks: pd.DataFrame,
    recipe: Recipe,
    work: Path,
    run: ChunkMap,
    on_chunk: Callable[[int, int], None] | None,
) -> None:
    """Writes the features of `tracks` to `work` as chunk files, once per content."""
    once = tracks.drop_duplicates("content")
    sources = [HashedFile(*pair) for pair in zip(once["path"], once["content"], strict=True)]
    durations_s = once["duration_s"].tolist()
    chunks = in_chunks(sources, sizes=durations_s, limit=_CHUNK_DURATION_S)
    n_done = 0
    for n in run(partial(extract_chunk, recipe=recipe, folder=work), chunks) if chunks else ():
        n_done += n
        if on_chunk is not None:
            on_chunk(n_done, len(sources))


@contextmanager
def _locked_folder(work: Path) -> Iterator[Path]:
    """Makes the folder `work` and locks it: a second process waits until the first is done.

    It is removed at the end unless it holds chunks that another build can use.
    """
    lock = _lock(work)
    try:
        yield work
    finally:
        if not chunk_files(work):
            shutil.rmtree(work, ignore_errors=True)
        fcntl.flock(lock, fcntl.LOCK_UN)  # explicitly, because forked workers share the lock
        lock.close()


def _lock(work: Path) -> IO[str]:
    while True:
        work.mkdir(parents=True, exist_ok=True)
        try:
            lock = (work / "lock").open("w")
        except FileNotFoundError:  # the previous process has just removed the folder
            continue
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _is_at(work / "lock", lock):
            return lock
        lock.close()


def _is_at(path: Path, file: IO[str]) -> bool:
    """Whether the open `file` is still the one at `path`, and not a removed one."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
