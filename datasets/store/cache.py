"""Makes feature stores: the features of each content are computed once, whoever asks for them.

Between the audit and the trials. `build` makes a store, `FeatureStore.open` opens it anywhere.
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

from chorale.datasets.atomic import publish, write_json
from chorale.datasets.chunks import ChunkMap, in_chunks
from chorale.datasets.content import HashedFile, digest
from chorale.datasets.errors import UserError
from chorale.datasets.store.assembly import (
    Piece,
    chunk_files,
    pieces_in,
    pieces_of,
    remove_used,
    write_arrays,
)
from chorale.datasets.store.extraction import AnyRecipe, Recipe, extract_chunk
from chorale.datasets.store.feature_store import STORE_FORMAT, FeatureStore

_CHUNK_DURATION_S = 1800.0  # 40 MB of mel frames: what a worker and the joining hold at most


def build(
    tracks: pd.DataFrame,
    feature: str,
    config: Any,
    *,
    root: Path,
    run: ChunkMap = map,
    on_chunk: Callable[[int, int], None] | None = None,
) -> FeatureStore:
    """The features of `tracks`, computed only where nobody has computed them before.

    A store is never changed: other tracks, another config or another content make another one,
    into which what is known already is copied. An interrupted build goes on where it stopped.

    Args:
        tracks: audited tracks, with the column `content`.
        feature: the feature set's name.
        config: its `Config`.
        root: the folder of all stores.
        run: how chunks of files are worked on.
        on_chunk: called when files are done, with how many are and how many must be computed.

    Raises:
        UserError: no such feature set, or a file that the audit could read has become unreadable.
    """
    return build_store(tracks, Recipe(feature, config), root=root, run=run, on_chunk=on_chunk)


def build_store(
    tracks: pd.DataFrame,
    recipe: AnyRecipe,
    *,
    root: Path,
    run: ChunkMap = map,
    on_chunk: Callable[[int, int], None] | None = None,
) -> FeatureStore:
    """Like `build`, by any recipe."""
    track_ids, contents = tracks["track_id"].tolist(), tracks["content"].tolist()
    folder = root / f"{recipe.feature}-{digest([STORE_FORMAT, recipe.key, track_ids, contents])}"
    if folder.exists():
        return FeatureStore.open(folder)
    with _alone(root / f".{recipe.feature}-{recipe.key}.work") as work:
        if folder.exists():  # another process was building it while this one waited
            return FeatureStore.open(folder)
        known = pieces_in(work) | _pieces_of_stores(root, recipe, set(contents))
        _extract(tracks[~tracks["content"].isin(list(known))], recipe, work, run, on_chunk)
        pieces = pieces_in(work) | known
        made = work / "store"
        shutil.rmtree(made, ignore_errors=True)  # of a build that was interrupted
        made.mkdir()
        write_arrays(made, [pieces[content] for content in contents], recipe.n_bins)
        write_json(made / "tracks.json", {"track_ids": track_ids, "contents": contents})
        write_json(made / "manifest.json", _manifest(recipe))
        publish(made, folder)
        remove_used(work, set(contents))
    return FeatureStore.open(folder)


def _manifest(recipe: AnyRecipe) -> dict[str, Any]:
    return {
        "format": STORE_FORMAT,
        "feature": recipe.feature,
        "recipe_key": recipe.key,
        "n_bins": recipe.n_bins,
        **recipe.manifest(),
    }


def _pieces_of_stores(root: Path, recipe: AnyRecipe, wanted: set[str]) -> dict[str, Piece]:
    """What the stores of the same recipe hold of the contents that are `wanted`."""
    pieces: dict[str, Piece] = {}
    for manifest in sorted(root.glob(f"{recipe.feature}-*/manifest.json")):
        try:
            store = FeatureStore.open(manifest.parent)
            if store.recipe_key == recipe.key and not wanted.isdisjoint(store.contents):
                pieces |= pieces_of(store.frames, store.contents, store.offsets)
        except UserError:
            continue  # a damaged store is a loss of time, no fault of this build
    return pieces


def _extract(
    tracks: pd.DataFrame,
    recipe: AnyRecipe,
    work: Path,
    run: ChunkMap,
    on_chunk: Callable[[int, int], None] | None,
) -> None:
    """Leaves the features of `tracks` in `work` as chunk files; one content is computed once."""
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
def _alone(work: Path) -> Iterator[Path]:
    """Makes the folder `work` and holds it: a second process waits until the first is done.

    It goes away at the end unless it holds chunks that some build can still use.
    """
    lock = _locked(work)
    try:
        yield work
    finally:
        if not chunk_files(work):
            shutil.rmtree(work, ignore_errors=True)
        fcntl.flock(lock, fcntl.LOCK_UN)  # closing is not enough: forked workers share the lock
        lock.close()


def _locked(work: Path) -> IO[str]:
    while True:
        work.mkdir(parents=True, exist_ok=True)
        try:
            lock = (work / "lock").open("w")
        except FileNotFoundError:  # who held it has just removed the folder; make it again
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
