"""Baselines on several labels: each classifier without scikit-learn gives scikit-learn's answer."""

from dataclasses import replace

import numpy as np
import pytest

from chorale.datasets.label_sets import UNKNOWN
from chorale.search.baselines.classifiers import (
    GRIDS,
    SEVERAL_LABELS,
    FitJob,
    fit_and_score,
    make_classifier,
)
from chorale.search.baselines.fitted_classifier import classifier_scores
from chorale.search.baselines.one_vs_rest import N_LABELS

N_CLASSES = 4


def _data(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of 6 columns, of which each of the first three labels depends on one; the last is 0."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(150, 6)).astype(np.float32)
    y = np.zeros((150, N_CLASSES), np.uint8)
    for label in range(3):
        y[:, label] = x[:, label] + 0.3 * rng.normal(size=150) > 0.5 * label
    return x, y


def _job(name: str) -> FitJob:
    x, y = _data()
    params = {key: values[len(values) // 2] for key, values in GRIDS[name].items()}
    if "n_trees" in params:
        params["n_trees"] = 20  # of up to 200, which take a second
    return FitJob(name, params, x[:100], y[:100], x[100:], N_CLASSES, 0, is_final=True)


@pytest.mark.parametrize("name", GRIDS)
def test_each_label_is_scored_by_its_own_log_odds(name: str) -> None:
    job, y = _job(name), _data()[1][100:]
    scores = fit_and_score(job).scores
    assert scores.shape == (50, N_CLASSES)
    right = ((scores > 0) == (y > 0)).mean(axis=0)
    assert (right[:3] > 0.7).all(), right
    assert (scores[:, 3] < 0).all()  # no training row has it


@pytest.mark.usefixtures("short_training")
@pytest.mark.parametrize("name", GRIDS)
def test_the_arrays_decide_as_scikit_learn(name: str) -> None:
    job = _job(name)
    arrays = fit_and_score(job).arrays
    assert arrays is not None
    assert (N_LABELS in arrays) == (name not in SEVERAL_LABELS)
    scores = classifier_scores(arrays, job.x_new, n_classes=N_CLASSES)
    theirs = make_classifier(name, job.params, n_rows=100, n_columns=6, seed=0)
    x, x_new = job.x.astype(np.float64), job.x_new.astype(np.float64)
    for label in range(3):
        y = job.y if name in SEVERAL_LABELS else job.y[:, label]
        decided = theirs.fit(x, y).predict(x_new)
        decided = decided[:, label] if name in SEVERAL_LABELS else decided
        far = np.abs(scores[:, label]) > 1e-6  # a tie of trees or neighbours may go either way
        assert (decided[far] == (scores[far, label] > 0)).all()


@pytest.mark.parametrize("name", ["knn", "random_forest", "logistic_regression"])
def test_a_label_that_every_training_row_has_is_likely_everywhere(name: str) -> None:
    job = _job(name)
    job.y[:, 3] = 1
    assert (fit_and_score(job).scores[:, 3] > 2).all()


@pytest.mark.parametrize("name", sorted(set(GRIDS) - set(SEVERAL_LABELS)))
@pytest.mark.parametrize("constant", [(2, 3), (0, 1, 2, 3)])
def test_labels_that_no_training_row_has_keep_their_own_score(
    name: str, constant: tuple[int, ...]
) -> None:
    """As many constant labels as fitted ones, and constant labels only."""
    job = _job(name)
    job.y[:, constant] = 0
    arrays = fit_and_score(job).arrays
    assert arrays is not None
    scores = classifier_scores(arrays, job.x_new, n_classes=N_CLASSES)
    assert scores.shape == (50, N_CLASSES)
    assert (scores[:, constant] == np.log(0.5 / 100.5)).all()


@pytest.mark.usefixtures("short_training")
@pytest.mark.parametrize("name", GRIDS)
def test_a_label_is_fitted_on_the_rows_where_it_is_known(name: str) -> None:
    """As a classifier of this label alone, of these rows."""
    job = _job(name)
    params = {key: min(value, 3) if key == "k" else value for key, value in job.params.items()}
    hidden = np.random.default_rng(1).random(job.y.shape) < 0.5
    hidden[:, 2] = np.arange(100) > 2  # fewer rows than neighbours
    job.y[:3, 2] = [0, 1, 1]
    y = np.where(hidden, UNKNOWN, job.y).astype(np.int8)
    found = fit_and_score(replace(job, y=y, params=params)).scores
    for label in range(3):
        rows = ~hidden[:, label]
        alone = replace(job, x=job.x[rows], y=job.y[rows, label], n_classes=2, params=params)
        expected = np.diff(fit_and_score(alone).scores, axis=1)[:, 0]
        np.testing.assert_allclose(found[:, label], expected, rtol=1e-6, atol=1e-9)


def test_what_all_labels_share_is_kept_once() -> None:
    arrays = fit_and_score(_job("logistic_regression")).arrays
    assert arrays is not None
    assert {"mean", "scale", "kind"} <= arrays.keys()
    assert {name for name in arrays if name.endswith("slopes")} == {
        f"{label}.slopes" for label in range(3)
    }
