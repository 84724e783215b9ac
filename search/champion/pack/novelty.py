"""Fits a bundle's novelty detection on the encoder vectors of its study."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from chorale.datasets.features import layout_of
from chorale.datasets.splitting.split import Split
from chorale.search.bundle.novelty import Novelty
from chorale.search.evaluation.encoder_vectors import read_encoder_vectors
from chorale.search.paths import StudyPaths


def fit_novelty(
    paths: StudyPaths, split: Split, features: Mapping[str, Mapping[str, Any]]
) -> Novelty | None:
    """The novelty detection by the encoders among a bundle's features; None without any.

    Args:
        paths: the study's.
        split: its folds and its test set.
        features: feature set -> its config; joined ones name their parts.

    Raises:
        UserError: the study's encoder vectors are damaged.
    """
    vectors = read_encoder_vectors(paths.encoder_vectors)
    used = {part for config in features.values() for part in config.get("parts", {})} | {
        name for name, config in features.items() if "parts" not in config
    }
    names = sorted(name for name in used if layout_of(name) == "embedding")
    if vectors is None or not names:
        return None
    ids = tuple(split.development_ids)
    development, test = vectors.rows(ids), vectors.rows(tuple(split.test_ids))
    return Novelty.fit(
        {name: vectors.by_encoder[name][development] for name in names},
        np.array([split.fold_of[track] for track in ids], np.int64),
        {name: vectors.by_encoder[name][test] for name in names},
    )
