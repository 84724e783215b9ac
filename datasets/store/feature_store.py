"""Feature store: the features of some tracks in memory-mapped arrays on disk.

`datasets.store.cache` builds them. A worker opens one by its folder and needs no audio libraries.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from chorale.datasets.config import read_config
from chorale.datasets.dsp.frequency_scale import FrequencyScale
from chorale.datasets.errors import UserError
from chorale.datasets.features import is_feature_set, load_feature_set

STORE_FORMAT = 2


@dataclass(frozen=True, eq=False)
class FeatureStore:
    """The features of some tracks in a folder; arrays are memory-mapped, tracks read on first use.

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
        """Opens an existing store.

        Raises:
            UserError: there is no store, or it is damaged.
        """
        folder = Path(folder)
        try:
            manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
            frames = np.load(folder / "frames.npy", mmap_mode="r").view(np.ndarray)
            offsets = np.load(folder / "offsets.npy", mmap_mode="r").view(np.ndarray)
            if (manifest["format"], offsets[-1]) != (STORE_FORMAT, len(frames)):
                raise ValueError("its files do not match")
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
                f"there is no feature store in '{folder}'; run the sweep again to build it"
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
        """The row numbers of the tracks, int64 `(n,)`, in the given order.

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
                f"run the sweep again to extract their features"
            )
        return np.array([index[track_id] for track_id in wanted], dtype=np.int64)

    @cached_property
    def scale(self) -> FrequencyScale | None:
        """The frequency bands of a frame, where the feature set has a `scale` function.

        Raises:
            UserError: the store is damaged, or no longer matches its feature set.
        """
        try:
            manifest = json.loads((self.folder / "manifest.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise _damaged(self.folder, error) from None
        if "config" not in manifest:  # precomputed images and tables
            return None
        module = load_feature_set(self.feature)
        if not hasattr(module, "scale"):
            return None
        config = read_config(module.Config, manifest["config"], where=f"the store '{self.folder}'")
        return cast(FrequencyScale, module.scale(config))

    @cached_property
    def is_spectral(self) -> bool:
        """Whether the bins of a frame are along a frequency axis (`SPECTRAL` of the feature set).

        False for precomputed features without a feature set: the order of their bins is unknown.
        """
        if not is_feature_set(self.feature):
            return False
        return bool(load_feature_set(self.feature).SPECTRAL)

    @cached_property
    def _tracks(self) -> dict[str, list[str]]:
        try:
            tracks = json.loads((self.folder / "tracks.json").read_text(encoding="utf-8"))
            return {name: list(tracks[name]) for name in ("track_ids", "contents")}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _damaged(self.folder, error) from None

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {track_id: row for row, track_id in enumerate(self._tracks["track_ids"])}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as its folder, without its frames."""
        return FeatureStore.open, (self.folder,)


def _damaged(folder: Path, error: Exception) -> UserError:
    return UserError(
        f"the feature store in '{folder}' is damaged ({error}); "
        f"remove that folder and run the sweep again to rebuild it"
    )
