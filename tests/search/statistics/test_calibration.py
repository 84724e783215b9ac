"""Temperature scaling and conformal sets: fitted on some rows, valid on new ones."""

import numpy as np
import pytest
from scipy.special import softmax

from chorale.lightning_models.metrics import log_loss
from chorale.search.statistics.arrays import Floats, Labels
from chorale.search.statistics.calibration import (
    calibrate,
    cross_calibrate,
    fit_temperature,
    validated_temperature,
)
from chorale.search.statistics.conformal import covers, fit_conformal


def draw(n: int, *, seed: int = 0, at: float = 1.0) -> tuple[Floats, Labels]:
    """Labels drawn from known probabilities, which are returned at another temperature."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(n, 4))
    true = softmax(logits, axis=1)
    labels = np.array([rng.choice(4, p=p) for p in true])
    return softmax(logits / at, axis=1), labels


@pytest.mark.parametrize("at", [0.5, 1.0, 3.0])
def test_fitting_finds_the_true_temperature(at: float) -> None:
    proba, labels = draw(6000, at=at)
    assert fit_temperature(proba, labels) == pytest.approx(1 / at, rel=0.06)


def test_calibration_changes_the_confidence_but_not_the_class() -> None:
    proba, labels = draw(500, at=0.3)
    after = calibrate(proba, fit_temperature(proba, labels))
    np.testing.assert_array_equal(after.argmax(axis=1), proba.argmax(axis=1))
    np.testing.assert_allclose(after.sum(axis=1), 1)
    assert log_loss(after, labels) < log_loss(proba, labels)
    np.testing.assert_allclose(calibrate(proba, 1.0), proba, atol=1e-7)


def test_the_temperature_of_rows_that_are_all_right_is_bounded() -> None:
    proba = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert 0.04 < fit_temperature(proba, np.array([0, 1])) < 0.1
    certain = np.eye(2)
    assert np.isfinite(calibrate(certain, fit_temperature(certain, np.array([0, 1])))).all()


def test_cross_calibration_does_not_use_a_rows_own_fold() -> None:
    proba, labels = draw(60, at=0.3)
    folds = np.arange(60) % 3
    found = cross_calibrate(proba, labels, folds)
    out = folds == 1
    expected = calibrate(proba[out], fit_temperature(proba[~out], labels[~out]))
    np.testing.assert_array_equal(found[out], expected)


def test_a_temperature_that_does_not_transfer_to_other_groups_is_not_used() -> None:
    overconfident, labels = draw(400, at=0.5)
    underconfident, _ = draw(400, at=2.0)
    folds = np.arange(400) % 2
    proba = np.where(folds[:, None] == 0, overconfident, underconfident)
    at, after = validated_temperature(proba, labels, folds)
    assert at == 1
    np.testing.assert_array_equal(after, proba)
    at, after = validated_temperature(overconfident, labels, folds)
    assert at == fit_temperature(overconfident, labels)
    np.testing.assert_array_equal(after, cross_calibrate(overconfident, labels, folds))


def test_the_threshold_of_groups_of_one_is_the_split_conformal_quantile() -> None:
    proba, labels = draw(57)
    found = fit_conformal(proba, labels, np.arange(57), coverage=0.9)
    scores = np.sort(1 - proba[np.arange(57), labels])
    assert found.by_group
    assert 1 - found.least_proba == pytest.approx(scores[int(np.ceil(58 * 0.9)) - 1])


def test_a_large_group_has_the_weight_of_a_small_one() -> None:
    proba = np.array([[p, 1 - p] for p in [0.9] * 20 + [0.5] * 400])
    groups = np.array([*range(20), *[20] * 400])
    found = fit_conformal(proba, np.zeros(420, np.int64), groups, coverage=0.9)
    assert found.by_group
    assert found.least_proba == 0.9


@pytest.mark.parametrize(("n_groups", "by_group"), [(8, False), (9, True)])
def test_coverage_by_group_needs_enough_groups(n_groups: int, by_group: bool) -> None:
    proba, labels = draw(90)
    found = fit_conformal(proba, labels, np.arange(90) % n_groups, coverage=0.9)
    assert found.by_group is by_group


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_sets_cover_new_rows_as_often_as_requested(coverage: float) -> None:
    hits, sizes = [], []
    for seed in range(20):
        proba, labels = draw(700, seed=seed)
        fitted = fit_conformal(proba[:200], labels[:200], np.arange(200) // 2, coverage=coverage)
        sets = fitted.sets(proba[200:])
        hits.append(covers(sets, labels[200:]).mean())
        sizes.append(sets.sum(axis=1).mean())
    assert np.mean(hits) == pytest.approx(coverage, abs=0.02)
    assert 1 <= np.mean(sizes) < 3


def test_no_set_is_empty() -> None:
    fitted = fit_conformal(
        np.array([[0.99, 0.01]] * 20), np.zeros(20, int), np.arange(20), coverage=0.5
    )
    assert fitted.sets(np.array([[0.6, 0.4], [0.3, 0.7]])).tolist() == [
        [True, False],
        [False, True],
    ]


def test_very_few_rows_give_sets_of_all_classes() -> None:
    fitted = fit_conformal(np.array([[0.9, 0.1]]), np.array([0]), np.array(["a"]), coverage=0.9)
    assert fitted.sets(np.array([[1.0, 0.0]])).all()
