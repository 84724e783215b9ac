"""Baselines' predictions in the prediction bank."""

from pathlib import Path

import numpy as np
import pytest

from chorale.datasets.errors import UserError
from chorale.datasets.splitting.split import Split
from chorale.search.ledger.baseline_predictions import (
    BaselinePredictions,
    read_baseline_predictions,
    write_baseline_predictions,
)

SPLIT = Split(("t0", "t1"), {"d0": 0, "d1": 1, "d2": 2}, "hash", 3, 0)


def rows(n: int, *, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(4), size=n).astype(np.float32)


def test_baselines_survive_writing_and_reading(tmp_path: Path) -> None:
    path = tmp_path / "svm.safetensors"
    one = BaselinePredictions(
        rows(3, seed=0), rows(2, seed=1), tuple(rows(2, seed=s) for s in (2, 3, 4))
    )
    write_baseline_predictions(path, one, SPLIT)
    found = read_baseline_predictions(path, SPLIT)
    np.testing.assert_array_equal(found.out_of_fold, one.out_of_fold)
    np.testing.assert_array_equal(found.test, one.test)
    np.testing.assert_array_equal(found.test_by_fold, one.test_by_fold)


def test_an_older_bank_lacks_the_fold_models_predictions(tmp_path: Path) -> None:
    path = tmp_path / "svm.safetensors"
    write_baseline_predictions(path, BaselinePredictions(rows(3, seed=0), rows(2, seed=1)), SPLIT)
    assert read_baseline_predictions(path, SPLIT).test_by_fold == ()


def test_a_bank_of_another_number_of_folds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "svm.safetensors"
    one = BaselinePredictions(rows(3, seed=0), rows(2, seed=1), (rows(2, seed=2),) * 2)
    write_baseline_predictions(path, one, SPLIT)
    with pytest.raises(UserError, match="'test_by_fold' is of other tracks"):
        read_baseline_predictions(path, SPLIT)
