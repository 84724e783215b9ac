"""The mean embedding of each track by each frozen encoder of a study, on disk.

A sweep writes them with its report; `search.champion.pack` fits the bundle's novelty
detection on those of the encoders that the bundle uses.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from chorale.datasets.atomic import atomic_write
from chorale.datasets.errors import UserError
from chorale.datasets.store.feature_store import FeatureStore
from chorale.search.bundle.embedding import mean_frame
from chorale.search.config.encoder_choices import is_encoder


@dataclass(frozen=True)
class EncoderVectors:
    """`by_encoder` maps the feature set of an encoder to float32 (n_tracks, width).

    Row i is of `track_ids[i]`.
    """

    track_ids: tuple[str, ...]
    by_encoder: Mapping[str, NDArray[np.float32]]

    def rows(self, track_ids: tuple[str, ...]) -> NDArray[np.int64]:
        """The row of each track."""
        index = {track: row for row, track in enumerate(self.track_ids)}
        return np.array([index[track] for track in track_ids], np.int64)


def write_encoder_vectors(path: Path, stores: Mapping[str, Path]) -> None:
    """Writes the mean frames of all tracks of each store of an encoder; nothing without one.

    Args:
        path: the file, safetensors.
        stores: feature set -> the folder of its store; joined ones are left out.
    """
    opened = {
        name: FeatureStore.open(folder)
        for name, folder in sorted(stores.items())
        if is_encoder(name)
    }
    if not opened:
        return
    ids = next(iter(opened.values())).track_ids
    arrays = {name: _means(store, ids) for name, store in opened.items()}
    with atomic_write(path) as temporary:
        save_file(arrays, temporary, metadata={"track_ids": json.dumps(ids)})


def read_encoder_vectors(path: Path) -> EncoderVectors | None:
    """What a sweep has written; None without an encoder, or where an older version wrote the study.

    Raises:
        UserError: the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="np") as file:
            ids = tuple(json.loads(file.metadata()["track_ids"]))
            names = file.keys()
            return EncoderVectors(ids, {name: file.get_tensor(name) for name in names})
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"'{path}' is damaged ({error}); remove it, and the bundle goes without its flag of "
            f"unlike recordings"
        ) from None


def _means(store: FeatureStore, track_ids: tuple[str, ...]) -> NDArray[np.float32]:
    rows = store.rows(track_ids)
    spans = zip(store.offsets[rows], store.offsets[rows + 1], strict=True)
    return np.stack([mean_frame(store.frames[start:stop]) for start, stop in spans])
