import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as reference

from chorale.lightning_models import metrics


def case(
    seed: int, *, n: int = 60, n_classes: int = 7
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    proba = rng.dirichlet(np.full(n_classes, 0.4), n)
    return proba, rng.integers(0, n_classes - 1, n)  # the last class never occurs


@pytest.mark.parametrize("seed", range(5))
def test_scores_equal_those_of_scikit_learn(seed: int) -> None:
    proba, labels = case(seed)
    predicted, classes = proba.argmax(1), np.arange(proba.shape[1])
    assert metrics.accuracy(proba, labels) == reference.accuracy_score(labels, predicted)
    assert metrics.macro_f1(proba, labels) == pytest.approx(
        reference.f1_score(labels, predicted, average="macro")
    )
    assert metrics.log_loss(proba, labels) == pytest.approx(
        reference.log_loss(labels, proba, labels=classes)
    )
    np.testing.assert_array_equal(
        metrics.confusion_matrix(proba, labels),
        reference.confusion_matrix(labels, predicted, labels=classes),
    )


def test_a_class_without_labels_and_predictions_does_not_lower_macro_f1() -> None:
    proba = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]])
    assert metrics.macro_f1(proba, np.array([0, 1])) == 1.0


def test_each_class_has_its_own_accuracy_and_one_without_rows_has_none() -> None:
    proba, labels = case(0)
    predicted = proba.argmax(1)
    found = metrics.accuracy_per_class(proba, labels)
    assert np.isnan(found[6])
    np.testing.assert_allclose(found[:6], [np.mean(predicted[labels == c] == c) for c in range(6)])


def test_the_log_loss_of_a_confident_mistake_is_finite() -> None:
    proba = np.array([[1.0, 0.0]], dtype=np.float32)
    assert metrics.log_loss(proba, np.array([1])) == pytest.approx(-np.log(2.0**-23))


@pytest.mark.parametrize("least", [0.0, 1e-30, 1e-10])
def test_the_log_loss_has_the_same_floor_for_every_dtype(least: float) -> None:
    proba = np.array([[1 - least, least], [0.25, 0.75]])
    labels = np.array([1, 1])
    double, single = (metrics.log_loss(proba.astype(kind), labels) for kind in ("f8", "f4"))
    assert double == pytest.approx(single, rel=1e-6)
    assert double == pytest.approx(-(np.log(metrics.PROBA_FLOOR) + np.log(0.75)) / 2)


def test_the_log_loss_of_nan_is_nan() -> None:
    assert np.isnan(metrics.log_loss(np.array([[np.nan, np.nan]]), np.array([0])))


def test_calibration_error_of_a_case_computed_by_hand() -> None:
    # bin (14/15, 1]: 0.95 wrong and 0.97 right: |0.5 - 0.96| * 2/5
    # bin (8/15, 9/15]: 0.6 right, 0.55 right, 0.56 wrong: |2/3 - 0.57| * 3/5
    top = np.array([0.95, 0.97, 0.60, 0.55, 0.56])
    proba = np.stack([top, 1 - top], axis=1)
    labels = np.array([1, 0, 0, 0, 1])
    assert metrics.expected_calibration_error(proba, labels) == pytest.approx(
        0.4 * 0.46 + 0.6 * (2 / 3 - 0.57)
    )


def test_calibration_error_is_0_if_confident_and_right_and_1_if_confident_and_wrong() -> None:
    proba = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert metrics.expected_calibration_error(proba, np.array([0, 0])) == 0.0
    assert metrics.expected_calibration_error(proba, np.array([1, 1])) == 1.0
