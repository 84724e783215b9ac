"""Fitted baselines on disk, and what they say of new tracks: safetensors, no pickle.

`search.evaluation.final_evaluation` writes them into a study, `search.champion.pack.pack` copies
them into a bundle.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from chorale.datasets.atomic import atomic
from chorale.datasets.errors import UserError
from chorale.search.baselines.fitted_classifier import Arrays, scores_of, standardised
from chorale.search.baselines.track_statistics import Description
from chorale.search.statistics.softmax import softmax

CARD = "chorale"


@dataclass(frozen=True)
class FittedBaseline:
    """A baseline that was trained on all development tracks.

    `features` is the feature set that it reads, made with `features_config`; `description` turns
    frames of it into a row, of which it reads the part that `statistics` names. Its scores are
    divided by `temperature`.
    """

    name: str
    features: str
    features_config: Mapping[str, Any]
    description: Description
    statistics: str
    temperature: float
    n_classes: int
    arrays: Arrays

    def rows(self, tracks: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """What it reads of tracks, each (n_frames, n_bins): (n_tracks, n_columns)."""
        n = self.description.n_columns(self.statistics)
        return np.stack([self.description.row(frames) for frames in tracks])[:, :n]

    def proba(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities (n_tracks, n_classes) of what `rows` gave."""
        scores = scores_of(self.arrays, rows, n_classes=self.n_classes)
        return np.asarray(softmax(scores / self.temperature), np.float32)

    def embeddings(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """The rows as the classifier sees them: what is alike lies close."""
        return standardised(self.arrays, rows).astype(np.float32)


def write_baseline(path: Path, one: FittedBaseline) -> None:
    """Writes it; the same baseline gives the same bytes."""
    card = {
        "name": one.name,
        "features": one.features,
        "features_config": dict(one.features_config),
        "description": one.description.as_dict(),
        "statistics": one.statistics,
        "temperature": one.temperature,
        "n_classes": one.n_classes,
    }
    arrays = {name: np.ascontiguousarray(array) for name, array in one.arrays.items()}
    data = safetensors.numpy.save(arrays, metadata={CARD: json.dumps(card, allow_nan=False)})
    with atomic(path) as temporary:
        temporary.write_bytes(data)


def read_baseline(path: Path) -> FittedBaseline:
    """What `write_baseline` wrote.

    Raises:
        UserError: it is missing, as in a study of an older version, or damaged.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            card = json.loads((file.metadata() or {})[CARD])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return FittedBaseline(
            **{**card, "description": Description(**card["description"])}, arrays=arrays
        )
    except FileNotFoundError:
        raise UserError(
            f"the fitted baseline '{path}' is missing; make the ensembles without baselines: "
            f"chorale ensemble STUDY --baselines none"
        ) from None
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"the fitted baseline '{path}' is damaged ({error}); make the ensembles without "
            f"baselines: chorale ensemble STUDY --baselines none"
        ) from None
