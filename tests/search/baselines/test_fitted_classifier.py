"""Fitted arrays give the same scores as scikit-learn's classifiers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import (  # type: ignore[import-untyped]
    threadpool_info,
    threadpool_limits,
)

from chorale.datasets.errors import UserError
from chorale.search.baselines import classifiers
from chorale.search.baselines.baseline_file import FittedBaseline, read_baseline, write_baseline
from chorale.search.baselines.classifiers import GRIDS, make_classifier
from chorale.search.baselines.fitted_classifier import (
    MIN_VOTE_SHARE,
    classifier_arrays,
    classifier_scores,
)
from chorale.search.baselines.track_statistics import StatisticsLayout
from chorale.search.statistics.softmax import log_softmax

PARAMS: dict[str, dict[str, Any]] = {
    "logistic_regression": {"C": 0.1},
    "svm": {"C": 10.0, "gamma_times_columns": 0.3},
    "svm_thirds": {"C": 1.0, "gamma_times_columns": 1.0},
    "knn": {"k": 7},
    "multilayer_perceptron": {"alpha": 0.1},
    "random_forest": {"n_trees": 30},
    "extra_trees": {"n_trees": 30},
    "gradient_boosting": {"n_rounds": 20},
}


def test_every_classifier_is_tested() -> None:
    assert PARAMS.keys() == GRIDS.keys()


@pytest.mark.usefixtures("short_training")
@pytest.mark.parametrize("name", PARAMS)
@pytest.mark.parametrize("n_classes", [2, 3, 8])
def test_scores_equal_those_of_scikit_learn(name: str, n_classes: int) -> None:
    rng = np.random.default_rng(n_classes)
    labels = np.arange(160) % n_classes
    centers = rng.normal(size=(n_classes, 20))
    x = (rng.normal(size=(160, 20)) + 0.5 * centers[labels]).astype(np.float32)
    new = rng.normal(size=(300, 20)).astype(np.float32)
    new[:5] = x[:5]  # at distance 0 from training rows
    model = make_classifier(name, PARAMS[name], n_rows=160, n_columns=20, seed=0).fit(
        x.astype(np.float64), labels
    )
    if hasattr(model, "decision_function"):
        expected = model.decision_function(new.astype(np.float64))
        if expected.ndim == 1:
            expected = np.stack([-expected / 2, expected / 2], axis=1)
    else:
        expected = np.log(np.maximum(model.predict_proba(new.astype(np.float64)), MIN_VOTE_SHARE))
    arrays = classifier_arrays(model)
    found = classifier_scores(arrays, new, n_classes=n_classes)
    comparable = found
    if name == "multilayer_perceptron":  # its scores are logits
        comparable = np.maximum(log_softmax(found), np.log(MIN_VOTE_SHARE))
    np.testing.assert_allclose(comparable, expected, atol=1e-6, rtol=0)
    one_by_one = [classifier_scores(arrays, row[None], n_classes=n_classes)[0] for row in new[:20]]
    np.testing.assert_allclose(one_by_one, found[:20], atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", PARAMS)
def test_a_class_without_training_rows_gets_the_rows_lowest_score(name: str) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 2, 3], 40)
    x = rng.normal(size=(120, 4)) + labels[:, None]
    model = make_classifier(name, PARAMS[name], n_rows=160, n_columns=4, seed=0).fit(x, labels)
    found = classifier_scores(classifier_arrays(model), x, n_classes=4)
    assert (found[:, 1] == found.min(axis=1)).all()
    assert (found.argmax(axis=1) == model.predict(x)).mean() > 0.98


@pytest.mark.parametrize("name", PARAMS)
def test_a_file_round_trips_and_is_byte_identical_when_rewritten(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tracks = [rng.normal(size=(6, 5)).astype(np.float32) + i % 3 for i in range(90)]
    layout = StatisticsLayout(5)
    rows = np.stack([layout.row(frames) for frames in tracks])
    model = make_classifier(name, PARAMS[name], n_rows=160, n_columns=rows.shape[1], seed=0)
    arrays = classifier_arrays(model.fit(rows.astype(np.float64), np.arange(90) % 3))
    one = FittedBaseline(name, "mfcc", {}, layout, "thirds", 0.7, 3, arrays)
    write_baseline(tmp_path / "a", one)
    found = read_baseline(tmp_path / "a")
    np.testing.assert_array_equal(found.proba(found.rows(tracks)), one.proba(rows))
    assert (found.name, found.layout, found.temperature) == (name, layout, 0.7)
    write_baseline(tmp_path / "b", found)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_damaged_or_missing_file_raises_an_error_with_the_fix(tmp_path: Path) -> None:
    (tmp_path / "svm").write_bytes(b"no")
    with pytest.raises(UserError, match=r"is damaged.*--baselines none"):
        read_baseline(tmp_path / "svm")
    with pytest.raises(UserError, match=r"is missing.*--baselines none"):
        read_baseline(tmp_path / "none")


def test_a_fit_uses_one_thread_and_restores_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    n_threads: list[set[int]] = []

    def arrays_of(fitted: Any) -> Any:
        n_threads.append({pool["num_threads"] for pool in threadpool_info()})
        return classifier_arrays(fitted)

    monkeypatch.setattr(classifiers, "classifier_arrays", arrays_of)
    x = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    y = np.arange(40) % 2
    with threadpool_limits(limits=2):
        for name in ("logistic_regression", "random_forest"):
            job = classifiers.FitJob(name, PARAMS[name], x, y, x, n_classes=2, seed=0)
            classifiers.fit_and_score(job)
        after = {pool["num_threads"] for pool in threadpool_info()}
    assert n_threads == [{1}, {1}]
    assert after == {2}
