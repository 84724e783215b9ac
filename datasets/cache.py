"""Features on disk: computed once for each content, memory-mapped by everyone who trains on them.

Between the audit and the trials. `build` makes a store, `FeatureStore.open` opens it anywhere.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from datasets import features, plugins
from datasets.assembly import (
    Piece,
    chunk_files,
    pieces_in,
    pieces_of,
    remove_used,
    write_arrays,
)
from datasets.atomic import publish, write_json
from datasets.chunks import ChunkMap, in_chunks
from datasets.config import read
from datasets.errors import UserError
from datasets.extraction import AnyRecipe, Recipe, Source, digest, extract_chunk
from datasets.scale import Scale

STORE_FORMAT = 2
_CHUNK_DURATION_S = 1800.0  # 40 MB of mel frames: what a worker and the joining hold at most


@dataclass(frozen=True, eq=False)
class FeatureStore:
    """The features of some tracks, as they lie in a folder; nothing is read until it is used.

    Track `i` has the frames `frames[offsets[i]:offsets[i + 1]]`. `frames` is float32
    `(n_frames of all tracks, n_bins)`, read-only and shared between processes; `offsets` is int64
    `(n_tracks + 1,)`. A frame's `n_bins` values are those of `n_channels` channels one after the
    other. `frame_rate_hz` is 0 where frames do not follow one another in time: the rows of a table.
    """

    folder: Path
    feature: str
    recipe_key: str
    frame_rate_hz: float
    n_bins: int
    frames: npt.NDArray[np.float32]
    offsets: npt.NDArray[np.int64]
    n_channels: int = 1

    @classmethod
    def open(cls, folder: Path) -> "FeatureStore":
        """Opens a store that `build` made; its folder is all that a process needs to know.

        Raises:
            UserError: there is no store, or it is damaged.
        """
        folder = Path(folder)
        try:
            manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
            frames = np.load(folder / "frames.npy", mmap_mode="r").view(np.ndarray)
            offsets = np.load(folder / "offsets.npy", mmap_mode="r").view(np.ndarray)
            if (manifest["format"], offsets[-1]) != (STORE_FORMAT, len(frames)):
                raise ValueError("its parts do not fit together")
            return cls(
                folder=folder,
                feature=manifest["feature"],
                recipe_key=manifest["recipe_key"],
                frame_rate_hz=manifest["frame_rate_hz"],
                n_bins=manifest["n_bins"],
                n_channels=manifest["n_channels"],
                frames=frames,
                offsets=offsets,
            )
        except FileNotFoundError:
            raise UserError(
                f"there is no feature store in '{folder}'; run the sweep again, it makes one"
            ) from None
        except (ValueError, KeyError, TypeError, IndexError, EOFError) as error:
            raise _damaged(folder, error) from None

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Frames of each track, `(n_tracks,)`."""
        return np.diff(self.offsets)

    @property
    def track_ids(self) -> tuple[str, ...]:
        """The tracks in the order of their rows."""
        return tuple(self._tracks["track_ids"])

    @property
    def contents(self) -> tuple[str, ...]:
        """The SHA-256 of each track's file, in the order of the rows."""
        return tuple(self._tracks["contents"])

    def rows(self, track_ids: Iterable[str]) -> npt.NDArray[np.int64]:
        """Where the tracks stand, int64 `(n,)`, in the order asked for.

        Raises:
            UserError: one of them is not in this store.
        """
        wanted = list(track_ids)
        index = self._row_of
        if unknown := [track_id for track_id in wanted if track_id not in index]:
            shown = ", ".join(f"'{track_id}'" for track_id in unknown[:5])
            raise UserError(
                f"{len(unknown)} of {len(wanted)} tracks are not among the {len(index)} of the "
                f"feature store '{self.folder}': {shown}{', ...' if len(unknown) > 5 else ''}; "
                f"run the sweep again, so that features are made for them"
            )
        return np.array([index[track_id] for track_id in wanted], dtype=np.int64)

    @cached_property
    def scale(self) -> Scale | None:
        """What the values of a frame are, where they were made by a feature set that can say it.

        Raises:
            UserError: the store is damaged, or no longer fits its feature set.
        """
        try:
            manifest = json.loads((self.folder / "manifest.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise _damaged(self.folder, error) from None
        if "config" not in manifest:  # pictures and tables that came ready-made
            return None
        made_by = plugins.load(features, self.feature, kind="feature set")
        if not hasattr(made_by, "scale"):
            return None
        config = read(made_by.Config, manifest["config"], where=f"the store '{self.folder}'")
        return cast(Scale, made_by.scale(config))

    @cached_property
    def _tracks(self) -> dict[str, list[str]]:
        try:
            kept = json.loads((self.folder / "tracks.json").read_text(encoding="utf-8"))
            return {name: list(kept[name]) for name in ("track_ids", "contents")}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _damaged(self.folder, error) from None

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {track_id: row for row, track_id in enumerate(self._tracks["track_ids"])}

    def __reduce__(self) -> tuple[Any, ...]:
        """Travels to another process as its folder, not as its frames."""
        return FeatureStore.open, (self.folder,)


def _damaged(folder: Path, error: Exception) -> UserError:
    return UserError(
        f"the feature store in '{folder}' is damaged ({error}); "
        f"remove that folder and run the sweep again, it makes a new one"
    )


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
    sources = [Source(*pair) for pair in zip(once["path"], once["content"], strict=True)]
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
