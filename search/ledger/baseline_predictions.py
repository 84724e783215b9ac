"""Baselines' predictions in the prediction bank."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.splitting.split import Split
from chorale.search.ledger.predictions import (
    PredictionPart,
    read_predictions,
    write_predictions,
)

BY_FOLD = "test_by_fold"


@dataclass(frozen=True)
class BaselinePredictions:
    """Probabilities, float32, as `search.baselines.fitted_baselines.Baseline` describes them.

    `out_of_fold` is (n_development, n_classes), `test` (n_test, n_classes); `test_by_fold` has such
    an array per fold, or is empty where an older version wrote the file.
    """

    out_of_fold: NDArray[np.float32]
    test: NDArray[np.float32]
    test_by_fold: tuple[NDArray[np.float32], ...] = ()


def write_baseline_predictions(
    path: Path, one: BaselinePredictions, split: Split, *, multi_label: bool = False
) -> None:
    """Writes them; the fold models' test rows are concatenated to one part, fold by fold."""
    parts = {
        "out_of_fold": PredictionPart(split.development_ids, one.out_of_fold),
        "test": PredictionPart(split.test_ids, one.test),
    }
    if one.test_by_fold:
        ids = split.test_ids * len(one.test_by_fold)
        parts[BY_FOLD] = PredictionPart(ids, np.concatenate(one.test_by_fold))
    write_predictions(path, parts, split=split.hash, multi_label=multi_label)


def read_baseline_predictions(path: Path, split: Split) -> BaselinePredictions:
    """Reads them.

    Raises:
        UserError: the file is missing or damaged, or of another split.
    """
    expected = {
        "out_of_fold": split.development_ids,
        "test": split.test_ids,
        BY_FOLD: split.test_ids * split.n_folds,
    }
    parts = read_predictions(path, expected, split=split.hash, optional=[BY_FOLD])
    by_fold = np.split(parts[BY_FOLD].proba, split.n_folds) if BY_FOLD in parts else ()
    return BaselinePredictions(parts["out_of_fold"].proba, parts["test"].proba, tuple(by_fold))
