"""The faster fits on rows of many columns are those of scikit-learn."""

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from chorale.search.baselines import wide_rows
from chorale.search.baselines.classifiers import FitJob, fit_and_score
from chorale.search.baselines.fitted_classifier import (
    ClassifierArrays,
    classifier_arrays,
    classifier_scores,
)
from chorale.search.baselines.wide_rows import fit_wide

N_CLASSES = 4


def rows(n: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of correlated columns of different scales, one of them constant; and their classes."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % N_CLASSES
    mixed = rng.normal(size=(n, 30)) @ rng.normal(size=(30, width)) / 5
    x = 0.3 * rng.normal(size=(N_CLASSES, width))[y] + mixed + rng.normal(size=(n, width))
    x = 5 + x * rng.uniform(0.1, 10, width)
    x[:, 7] = 3.0
    return x.astype(np.float32).astype(np.float64), y


def both(model: Any, n: int, width: int) -> tuple[np.ndarray, np.ndarray, ClassifierArrays]:
    """Scores of new rows by scikit-learn's own fit and by `fit_wide`, and the latter's arrays."""
    x, y = rows(n + 40, width)
    usual = classifier_arrays(make_pipeline(StandardScaler(), model).fit(x[:n], y[:n]))
    arrays = fit_wide(make_pipeline(StandardScaler(), clone(model)), x[:n], y[:n])
    expected, found = (
        classifier_scores(one, x[n:], n_classes=N_CLASSES) for one in (usual, arrays)
    )
    return expected, found, arrays


@pytest.mark.parametrize(("n", "width"), [(60, 500), (200, 500), (500, 60)])
@pytest.mark.parametrize("c", [0.001, 0.1, 10.0])
def test_logistic_regression_has_the_same_optimum(n: int, width: int, c: float) -> None:
    expected, found, arrays = both(LogisticRegression(C=c, tol=1e-9, max_iter=10_000), n, width)
    assert arrays["slopes"].shape == (N_CLASSES, width)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_logistic_regression_is_fitted_in_as_many_dimensions_as_there_are_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shapes = []
    fit = LogisticRegression.fit

    def spy(self: Any, x: Any, y: Any) -> Any:
        shapes.append(x.shape)
        return fit(self, x, y)

    monkeypatch.setattr(LogisticRegression, "fit", spy)
    for n, width in ((60, 500), (500, 60)):
        x, y = rows(n, width)
        fit_wide(make_pipeline(StandardScaler(), LogisticRegression(C=0.1)), x, y)
    assert shapes == [(60, 60), (500, 60)]


@pytest.mark.parametrize(("n", "width"), [(60, 500), (500, 60)])
@pytest.mark.parametrize(
    "model",
    [
        SVC(C=10.0, gamma=0.001),
        SVC(C=1.0, gamma=0.01),
        SVC(C=0.01, kernel="linear"),
        KNeighborsClassifier(7, weights="distance"),
    ],
)
def test_svms_and_neighbours_give_the_same_scores(model: Any, n: int, width: int) -> None:
    expected, found, _ = both(model, n, width)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_more_rows_than_fit_into_memory_are_fitted_as_usual(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kernels = []
    fit = SVC.fit

    def spy(self: Any, x: Any, y: Any) -> Any:
        kernels.append((self.kernel, x.shape))
        return fit(self, x, y)

    monkeypatch.setattr(SVC, "fit", spy)
    x, y = rows(60, 200)
    for most in (60, 59):
        monkeypatch.setattr(wide_rows, "MAX_KERNEL_ROWS", most)
        fit_wide(make_pipeline(StandardScaler(), SVC(C=1.0, gamma=0.01)), x, y)
    assert kernels == [("precomputed", (60, 60)), ("rbf", (60, 200))]


def test_a_row_that_is_known_decides_alone() -> None:
    x, y = rows(60, 500)
    model = KNeighborsClassifier(7, weights="distance")
    arrays = fit_wide(make_pipeline(StandardScaler(), model), x, y)
    scores = classifier_scores(arrays, x, n_classes=N_CLASSES)
    assert scores.argmax(axis=1).tolist() == y.tolist()
    assert (np.sort(scores, axis=1)[:, -2] < np.log(2e-3)).all()


@pytest.mark.parametrize("classes", [2, N_CLASSES])
@pytest.mark.parametrize("name", ["logistic_regression", "svm", "random_forest"])
def test_only_rows_of_embeddings_are_fitted_so(
    monkeypatch: pytest.MonkeyPatch, name: str, classes: int
) -> None:
    called = []

    def spy(pipeline: Any, x: Any, y: Any) -> Any:
        called.append(name)
        return fit_wide(pipeline, x, y)

    monkeypatch.setattr("chorale.search.baselines.classifiers.fit_wide", spy)
    params = {"C": 1.0, "gamma_times_columns": 0.3, "n_trees": 5}
    x, y = rows(80, 200)
    y = y % classes
    scores = [
        fit_and_score(
            FitJob(name, params, x[:60], y[:60], x[60:], classes, 0, False, pooled)
        ).scores
        for pooled in (False, True)
    ]
    assert called == [name]
    assert scores[0].shape == (20, classes)
    assert (scores[0].argmax(axis=1) == scores[1].argmax(axis=1)).mean() >= 0.95
