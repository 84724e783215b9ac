"""What a baseline says of the tracks of a study, as the prediction bank keeps it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.splitting.split import Split
from chorale.search.ledger import predictions

BY_FOLD = "test_by_fold"


@dataclass(frozen=True)
class BankedBaseline:
    """Probabilities, float32, as `search.baselines.baselines.Baseline` describes them.

    `out_of_fold` (n_development, n_classes), `test` (n_test, n_classes), `test_by_fold` n_folds of
    the latter, or none where the bank is of an older version.
    """

    out_of_fold: NDArray[np.float32]
    test: NDArray[np.float32]
    test_by_fold: tuple[NDArray[np.float32], ...] = ()


def write_banked(path: Path, one: BankedBaseline, split: Split) -> None:
    """Writes it; the fold models' test rows stand in one part, fold after fold."""
    parts = {
        "out_of_fold": predictions.Part(split.development_ids, one.out_of_fold),
        "test": predictions.Part(split.test_ids, one.test),
    }
    if one.test_by_fold:
        ids = split.test_ids * len(one.test_by_fold)
        parts[BY_FOLD] = predictions.Part(ids, np.concatenate(one.test_by_fold))
    predictions.write(path, parts, split=split.hash)


def read_banked(path: Path, split: Split) -> BankedBaseline:
    """Reads it.

    Raises:
        UserError: the file is missing or damaged, or is of another split.
    """
    expected = {
        "out_of_fold": split.development_ids,
        "test": split.test_ids,
        BY_FOLD: split.test_ids * split.n_folds,
    }
    parts = predictions.read(path, expected, split=split.hash, optional=[BY_FOLD])
    by_fold = np.split(parts[BY_FOLD].proba, split.n_folds) if BY_FOLD in parts else ()
    return BankedBaseline(parts["out_of_fold"].proba, parts["test"].proba, tuple(by_fold))
