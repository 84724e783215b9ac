import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score
from sklearn.metrics import log_loss as sklearn_log_loss

from chorale.lightning_models.metrics import expected_calibration_error, log_loss
from chorale.lightning_models.multi_label_metrics import (
    average_precisions,
    label_f1,
    lwlrap,
    macro_label_f1,
    main_score,
    mean_average_precision,
    micro_f1,
)


def _draw(seed: int = 0, n: int = 200, n_classes: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities with many ties, and labels that they predict somewhat."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, n_classes)) < np.linspace(0.05, 0.6, n_classes)).astype(np.uint8)
    proba = np.clip(0.3 * labels + rng.random((n, n_classes)), 0, 1)
    return np.round(proba, 1), labels


def test_average_precision_is_scikit_learns_with_ties() -> None:
    proba, labels = _draw()
    found = average_precisions(proba, labels)
    theirs = [average_precision_score(labels[:, c], proba[:, c]) for c in range(5)]
    np.testing.assert_allclose(found, theirs, rtol=1e-12)
    assert mean_average_precision(proba, labels) == pytest.approx(np.mean(theirs))
    assert main_score(proba, labels) == mean_average_precision(proba, labels)


def test_a_label_that_no_row_has_does_not_count() -> None:
    proba, labels = _draw()
    labels[:, 2] = 0
    assert math.isnan(average_precisions(proba, labels)[2])
    others = [0, 1, 3, 4]
    assert mean_average_precision(proba, labels) == pytest.approx(
        mean_average_precision(proba[:, others], labels[:, others])
    )
    only = np.array([False, True, True, False, False])
    assert mean_average_precision(proba, labels, scored=only) == pytest.approx(
        average_precisions(proba, labels)[1]
    )
    assert mean_average_precision(proba, np.zeros_like(labels)) == 0


def test_lwlrap_weighs_each_label_of_each_row_equally() -> None:
    labels = np.array([[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]], np.uint8)
    proba = np.array([[0.9, 0.8, 0.7, 0.1], [0.6, 0.5, 0.4, 0.3], [0.1, 0.2, 0.3, 0.4]])
    # of the first row 1/1 and 2/3, of the second 1/2
    assert lwlrap(proba, labels) == pytest.approx((1 + 2 / 3 + 1 / 2) / 3)
    assert lwlrap(proba, np.zeros_like(labels)) == 0
    assert lwlrap(np.full((2, 4), 0.5), labels[:2]) == pytest.approx((2 / 4 + 2 / 4 + 1 / 4) / 3)


def test_f1_scores_are_scikit_learns() -> None:
    proba, labels = _draw()
    chosen = proba >= 0.6
    each = f1_score(labels, chosen, average=None)
    np.testing.assert_allclose(label_f1(chosen, labels), each)
    assert macro_label_f1(chosen, labels) == pytest.approx(float(np.mean(each)))
    assert micro_f1(chosen, labels) == pytest.approx(f1_score(labels, chosen, average="micro"))
    nothing = np.zeros_like(chosen)
    assert micro_f1(nothing, np.zeros_like(labels)) == 0


def test_log_loss_is_the_mean_binary_cross_entropy() -> None:
    rng = np.random.default_rng(1)
    _, labels = _draw()
    proba = rng.uniform(0.01, 0.99, labels.shape)
    theirs = [sklearn_log_loss(labels[:, c], proba[:, c]) for c in range(5)]
    assert log_loss(proba, labels) == pytest.approx(np.mean(theirs))
    assert log_loss(labels.astype(np.float32), labels) == pytest.approx(0, abs=1e-6)


def test_the_calibration_error_of_labels_is_that_of_their_own_probabilities() -> None:
    rng = np.random.default_rng(2)
    proba = rng.random((4000, 3))
    labels = (rng.random((4000, 3)) < proba).astype(np.uint8)
    assert expected_calibration_error(proba, labels) < 0.02
    absent = np.zeros_like(labels)
    assert expected_calibration_error(proba, absent) == pytest.approx(proba.mean())
