"""Arrays say what scikit-learn's own classifiers say."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chorale.datasets.errors import UserError
from chorale.search.baselines.baseline_file import FittedBaseline, read_baseline, write_baseline
from chorale.search.baselines.classifiers import GRIDS, make
from chorale.search.baselines.fitted_classifier import SMALLEST_PROBA, arrays_of, scores_of
from chorale.search.baselines.track_statistics import Description

PARAMS: dict[str, dict[str, Any]] = {
    "logistic_regression": {"C": 0.1},
    "svm": {"C": 10.0, "gamma_times_columns": 0.3},
    "svm_thirds": {"C": 1.0, "gamma_times_columns": 1.0},
    "knn": {"k": 7},
    "random_forest": {"n_trees": 30},
    "gradient_boosting": {"n_rounds": 20},
}


def test_every_classifier_is_looked_at() -> None:
    assert PARAMS.keys() == GRIDS.keys()


@pytest.mark.parametrize("name", PARAMS)
@pytest.mark.parametrize("n_classes", [2, 3, 8])
def test_scores_are_those_of_scikit_learn(name: str, n_classes: int) -> None:
    rng = np.random.default_rng(n_classes)
    labels = np.arange(160) % n_classes
    centers = rng.normal(size=(n_classes, 20))
    x = (rng.normal(size=(160, 20)) + 0.5 * centers[labels]).astype(np.float32)
    new = rng.normal(size=(300, 20)).astype(np.float32)
    new[:5] = x[:5]  # at no distance from what was learnt
    model = make(name, PARAMS[name], n_columns=20, seed=0).fit(x.astype(np.float64), labels)
    if hasattr(model, "decision_function"):
        expected = model.decision_function(new.astype(np.float64))
        if expected.ndim == 1:
            expected = np.stack([-expected / 2, expected / 2], axis=1)
    else:
        expected = np.log(np.maximum(model.predict_proba(new.astype(np.float64)), SMALLEST_PROBA))
    arrays = arrays_of(model)
    found = scores_of(arrays, new, n_classes=n_classes)
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0)
    one_by_one = [scores_of(arrays, row[None], n_classes=n_classes)[0] for row in new[:20]]
    np.testing.assert_allclose(one_by_one, found[:20], atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", PARAMS)
def test_a_class_that_was_not_learnt_gets_the_lowest_score_of_the_row(name: str) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 2, 3], 40)
    x = rng.normal(size=(120, 4)) + labels[:, None]
    model = make(name, PARAMS[name], n_columns=4, seed=0).fit(x, labels)
    found = scores_of(arrays_of(model), x, n_classes=4)
    assert (found[:, 1] == found.min(axis=1)).all()
    assert (found.argmax(axis=1) == model.predict(x)).mean() > 0.98


@pytest.mark.parametrize("name", PARAMS)
def test_a_file_says_the_same_and_is_the_same_when_written_again(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tracks = [rng.normal(size=(6, 5)).astype(np.float32) + i % 3 for i in range(90)]
    description = Description(5)
    rows = np.stack([description.row(frames) for frames in tracks])
    model = make(name, PARAMS[name], n_columns=rows.shape[1], seed=0)
    arrays = arrays_of(model.fit(rows.astype(np.float64), np.arange(90) % 3))
    one = FittedBaseline(name, "mfcc", {}, description, "thirds", 0.7, 3, arrays)
    write_baseline(tmp_path / "a", one)
    found = read_baseline(tmp_path / "a")
    np.testing.assert_array_equal(found.proba(found.rows(tracks)), one.proba(rows))
    assert (found.name, found.description, found.temperature) == (name, description, 0.7)
    write_baseline(tmp_path / "b", found)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_damaged_file_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "svm").write_bytes(b"no")
    with pytest.raises(UserError, match=r"is damaged.*--baselines none"):
        read_baseline(tmp_path / "svm")
    with pytest.raises(UserError, match=r"is missing.*--baselines none"):
        read_baseline(tmp_path / "none")
