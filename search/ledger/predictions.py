"""The prediction bank: each trained model's predictions by track, tied to the split.

Ensembles and scores read the bank, never a model. Rows are aligned by track ids and the split's
hash; a mismatch is refused, never re-ordered.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from chorale.datasets.atomic import atomic_write
from chorale.datasets.errors import UserError


@dataclass(frozen=True)
class PredictionPart:
    """A model's predictions for some tracks.

    `proba` is float32 (n_tracks, n_classes), `embeddings` float32 (n_tracks, width) or None, both
    in the order of `track_ids`.
    """

    track_ids: tuple[str, ...]
    proba: np.ndarray
    embeddings: np.ndarray | None = None


def write_predictions(
    path: Path, parts: Mapping[str, PredictionPart], *, split: str, multi_label: bool = False
) -> None:
    """Writes named parts ("valid", "test", ...) of one model; `split` is the split's hash.

    Rows must sum to 1, except where `multi_label`.

    Raises:
        ValueError: the rows do not match the tracks, or are not probabilities.
    """
    tensors: dict[str, np.ndarray] = {}
    for name, part in parts.items():
        _check(name, part, multi_label=multi_label)
        tensors[f"{name}.proba"] = np.ascontiguousarray(part.proba, dtype=np.float32)
        if part.embeddings is not None:
            tensors[f"{name}.embeddings"] = np.ascontiguousarray(part.embeddings, np.float32)
    tracks = {name: _digest(part.track_ids) for name, part in parts.items()}
    card = {"split": split, "tracks": json.dumps(tracks)}
    data = safetensors.numpy.save(tensors, metadata=card)  # `save_file` hides a full disk
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


def read_predictions(
    path: Path,
    expected: Mapping[str, Sequence[str]],
    *,
    split: str,
    optional: Collection[str] = (),
) -> dict[str, PredictionPart]:
    """Reads the parts named in `expected` (name -> the track ids that it must have, in order).

    Args:
        path: the file.
        expected: the parts.
        split: the hash of the split that they must be of.
        optional: names of `expected` that the file and then the result may lack.

    Raises:
        UserError: the file is missing or damaged, or of another split or other tracks.
    """
    parts = {}
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            card = file.metadata() or {}
            if card.get("split") != split:
                raise UserError(f"{path} belongs to another split; it is not used")
            tracks = json.loads(card["tracks"])
            for name, ids in expected.items():
                if name in optional and name not in tracks:
                    continue
                if tracks.get(name) != _digest(ids):
                    raise UserError(f"{path}: '{name}' is of other tracks; it is not used")
                wide = f"{name}.embeddings"
                embeddings = file.get_tensor(wide) if wide in file.keys() else None  # noqa: SIM118
                parts[name] = PredictionPart(
                    tuple(ids), file.get_tensor(f"{name}.proba"), embeddings
                )
    except FileNotFoundError:
        raise UserError(f"{path} is missing; restore it from a backup") from None
    except safetensors.SafetensorError as error:
        raise UserError(f"{path} is damaged ({error}); restore it from a backup") from None
    return parts


def _check(name: str, part: PredictionPart, *, multi_label: bool) -> None:
    shape = part.proba.shape
    if len(shape) != 2 or shape[0] != len(part.track_ids):
        raise ValueError(f"'{name}': {shape=} does not match {len(part.track_ids)} tracks")
    off = part.proba.max(initial=0) - 1 if multi_label else np.abs(part.proba.sum(1) - 1)
    if not np.isfinite(part.proba).all() or np.max(off, initial=0) > 1e-3:
        what = "a label's is above 1" if multi_label else "each must sum to 1"
        raise ValueError(f"'{name}': rows are not probabilities ({what})")
    if part.embeddings is not None and len(part.embeddings) != shape[0]:
        raise ValueError(f"'{name}': {len(part.embeddings)} embeddings for {shape[0]} tracks")


def _digest(track_ids: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(track_ids).encode()).hexdigest()
