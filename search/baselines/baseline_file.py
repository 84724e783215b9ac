"""Saves and loads fitted baselines as safetensors, without pickle, and predicts with them.

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

from chorale.datasets.atomic import atomic_write
from chorale.datasets.errors import UserError
from chorale.search.baselines.fitted_classifier import (
    ClassifierArrays,
    classifier_scores,
    score_proba,
    standardized,
)
from chorale.search.baselines.track_statistics import StatisticsLayout

_METADATA_KEY = "chorale"


@dataclass(frozen=True)
class FittedBaseline:
    """A baseline that was trained on all development tracks.

    It reads the feature set `features` with the config `features_config`. `layout` turns a track's
    frames into a row, of which the classifier reads the columns that `statistics` names. Its scores
    are divided by `temperature`.
    """

    name: str
    features: str
    features_config: Mapping[str, Any]
    layout: StatisticsLayout
    statistics: str
    temperature: float
    n_classes: int
    arrays: ClassifierArrays
    multi_label: bool = False

    def rows(self, tracks: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Statistics (n_tracks, n_columns) of tracks, each (n_frames, n_bins)."""
        rows = np.stack([self.layout.row(frames) for frames in tracks])
        return rows[:, self.layout.columns(self.statistics)]

    def proba(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities (n_tracks, n_classes) for the result of `rows`."""
        scores = classifier_scores(self.arrays, rows, n_classes=self.n_classes)
        return score_proba(scores / self.temperature, multi_label=self.multi_label)

    def embeddings(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Embeddings: the standardized statistics, in which similar tracks are close."""
        return standardized(self.arrays, rows).astype(np.float32)


def write_baseline(path: Path, baseline: FittedBaseline) -> None:
    """Writes a baseline; the same baseline gives the same bytes."""
    card = {
        "name": baseline.name,
        "features": baseline.features,
        "features_config": dict(baseline.features_config),
        "description": baseline.layout.as_dict(),
        "statistics": baseline.statistics,
        "temperature": baseline.temperature,
        "n_classes": baseline.n_classes,
        "multi_label": baseline.multi_label,
    }
    arrays = {name: np.ascontiguousarray(array) for name, array in baseline.arrays.items()}
    data = safetensors.numpy.save(
        arrays, metadata={_METADATA_KEY: json.dumps(card, allow_nan=False)}
    )
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


def read_baseline(path: Path) -> FittedBaseline:
    """Reads a baseline that `write_baseline` wrote.

    Raises:
        UserError: it is missing, as in a study of an older version, or damaged.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            card = json.loads((file.metadata() or {})[_METADATA_KEY])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        layout = StatisticsLayout(**card.pop("description"))
        return FittedBaseline(**card, layout=layout, arrays=arrays)
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
