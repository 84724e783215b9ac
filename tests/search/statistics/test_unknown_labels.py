"""Pairs of a track and a label that are unknown are in no score and no fit."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score

from chorale.datasets.label_sets import UNKNOWN
from chorale.datasets.splitting.group_split import group_counts
from chorale.lightning_models import metrics, multi_label_metrics
from chorale.search.combining import one_member
from chorale.search.combining.base import MemberPredictions
from chorale.search.combining.multi_label import MultiLabelEnsemble
from chorale.search.ensembles import stacking
from chorale.search.evaluation.label_thresholds import label_scores
from chorale.search.report.data.error_analysis import reliability_bins
from chorale.search.statistics.arrays import check_rows
from chorale.search.statistics.calibration import calibrated_log_loss, fit_temperature
from chorale.search.statistics.conformal import covers, fit_conformal, has_loss
from chorale.search.statistics.inner_folds import inner_folds
from chorale.search.statistics.label_confusion import label_confusion
from chorale.search.statistics.multi_label_scores import (
    map_difference,
    score_labels,
    weighted_maps,
)
from chorale.search.statistics.thresholds import fit_thresholds, labels_above
from tests.search.statistics.test_multi_label_scores import GROUPS, N_CLASSES, N, draw

HIDDEN = np.random.default_rng(7).random((N, N_CLASSES)) < 0.6


def hidden(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities, all labels, and those of which about 60 % are unknown."""
    proba, labels = draw(seed)
    return proba, labels, np.where(HIDDEN, UNKNOWN, labels).astype(np.int8)


def test_each_label_is_scored_on_its_known_rows() -> None:
    proba, labels, some = hidden()
    found = multi_label_metrics.average_precisions(proba, some)
    chosen = labels_above(proba)
    f1 = multi_label_metrics.label_f1(chosen, some)
    for i in range(N_CLASSES):
        rows = ~HIDDEN[:, i]
        expected = average_precision_score(labels[rows, i], proba[rows, i])
        assert found[i] == pytest.approx(expected)
        assert f1[i] == pytest.approx(f1_score(labels[rows, i], chosen[rows, i]))
    micro = f1_score(labels[~HIDDEN], chosen[~HIDDEN])
    assert multi_label_metrics.micro_f1(chosen, some) == pytest.approx(micro)


def test_a_difference_of_maps_is_of_known_pairs() -> None:
    proba, _, some = hidden()
    rng = np.random.default_rng(5)
    noisy = np.clip(proba + 0.1 * rng.standard_normal(proba.shape), 0, 1)
    other = np.where(HIDDEN, rng.random(proba.shape), noisy)
    found = map_difference(proba, noisy, some, GROUPS)
    assert found[1][0] < found[1][1]
    assert map_difference(proba, other, some, GROUPS) == found
    elsewhere = np.where(HIDDEN, other, proba)
    assert map_difference(proba, elsewhere, some, GROUPS) == (0, (0, 0))


def test_losses_and_calibration_errors_are_of_known_pairs() -> None:
    proba, labels, some = hidden()
    known = ~HIDDEN
    alone, truth = proba[known][:, None], labels[known][:, None]
    assert metrics.log_loss(proba, some) == pytest.approx(metrics.log_loss(alone, truth))
    rows = metrics.log_losses(proba, some)
    assert rows[0] == pytest.approx(
        metrics.log_loss(proba[:1, known[0]].T, labels[:1, known[0]].T) if known[0].any() else 0
    )
    error = metrics.expected_calibration_error
    assert error(proba, some) == pytest.approx(error(alone, truth))
    assert reliability_bins(proba, some) == reliability_bins(alone, truth)
    assert fit_temperature(proba, some) == pytest.approx(fit_temperature(alone, truth))
    expected = calibrated_log_loss(alone, truth)
    assert calibrated_log_loss(proba, some) == pytest.approx(expected)
    assert metrics.log_loss(proba, np.full_like(some, UNKNOWN)) == 0


def test_the_map_of_known_pairs_is_that_of_all_and_unknown_as_absent_is_not() -> None:
    """70 % of the pairs are hidden at random, 40 times."""
    proba, labels = draw(3, n=1500)
    whole = multi_label_metrics.mean_average_precision(proba, labels)
    rng = np.random.default_rng(0)
    of_known, as_absent = [], []
    for _ in range(40):
        hide = rng.random(labels.shape) < 0.7
        some = np.where(hide, UNKNOWN, labels).astype(np.int8)
        of_known.append(multi_label_metrics.mean_average_precision(proba, some))
        absent = np.where(hide, 0, labels)
        as_absent.append(multi_label_metrics.mean_average_precision(proba, absent))
    error = np.std(of_known) / np.sqrt(40)
    assert abs(np.mean(of_known) - whole) < 3 * error + 0.005
    assert np.mean(as_absent) < whole - 0.2


def test_lwlrap_ranks_a_label_among_the_known_ones_of_its_row() -> None:
    proba = np.array([[0.9, 0.8, 0.7, 0.6]])
    labels = np.array([[0, 1, 0, 1]])
    assert multi_label_metrics.lwlrap(proba, labels) == pytest.approx((1 / 2 + 2 / 4) / 2)
    labels[0, 0] = UNKNOWN
    assert multi_label_metrics.lwlrap(proba, labels) == pytest.approx((1 + 2 / 3) / 2)


def test_unknown_pairs_change_no_score_interval_or_threshold() -> None:
    proba, _, some = hidden()
    other = np.where(HIDDEN, np.random.default_rng(1).random(proba.shape), proba)
    assert (other != proba).any()
    thresholds = fit_thresholds(proba, some)
    np.testing.assert_array_equal(fit_thresholds(other, some), thresholds)
    first, second = (
        score_labels(one, some, GROUPS, thresholds=thresholds).as_dict() for one in (proba, other)
    )
    assert first == second
    weights = np.random.default_rng(2).random((3, N))
    np.testing.assert_array_equal(
        weighted_maps(proba, some, weights), weighted_maps(other, some, weights)
    )
    names = [str(i) for i in range(N_CLASSES)]
    each = label_scores(proba, some, names, thresholds)
    assert label_scores(other, some, names, thresholds) == each
    assert [one["n_known"] for one in each.values()] == (~HIDDEN).sum(axis=0).tolist()
    confusion = label_confusion(labels_above(proba), some)
    np.testing.assert_array_equal(
        confusion.counts, label_confusion(labels_above(other), some).counts
    )


def test_where_nothing_is_unknown_scores_are_as_before() -> None:
    proba, labels = draw()
    found = score_labels(proba, labels.astype(np.int8), GROUPS)
    assert found == score_labels(proba, labels, GROUPS)
    assert found.log_loss == pytest.approx(-np.log(np.where(labels, proba, 1 - proba)).mean())


def test_a_matrix_of_weighted_maps_is_the_map() -> None:
    proba, _, some = hidden()
    ones = np.ones((1, N))
    value = multi_label_metrics.mean_average_precision(proba, some)
    assert weighted_maps(proba, some, ones)[0] == pytest.approx(value)


def test_conformal_sets_are_fitted_and_measured_on_known_labels() -> None:
    proba, _, some = hidden()
    other = np.where(some == 1, proba, np.random.default_rng(1).random(proba.shape))
    fitted = fit_conformal(proba, some, GROUPS, coverage=0.8)
    assert fit_conformal(other, some, GROUPS, coverage=0.8) == fitted
    counts = has_loss(some)
    assert 0 < counts.sum() < N
    np.testing.assert_array_equal(counts, (some == 1).any(axis=1) | (some >= 0).all(axis=1))
    alone = fit_conformal(proba[counts], some[counts], GROUPS[counts], coverage=0.8)
    assert fitted == alone
    hits = covers(fitted.sets(proba), some)[counts]
    assert 0.75 < hits.mean() < 0.9
    assert covers(np.array([[True, False]]), np.array([[1, UNKNOWN]])).tolist() == [1.0]


@pytest.mark.parametrize("kind", ["stacking", "best_single"])
def test_ensembles_are_fitted_on_known_decisions(kind: str) -> None:
    _, _, some = hidden()
    proba = np.stack([draw(seed, skill=1)[0] for seed in (0, 1)])
    noise = np.random.default_rng(3).random(proba.shape)
    other = np.where(HIDDEN, noise, proba)
    ensemble = MultiLabelEnsemble(stacking if kind == "stacking" else one_member)
    models = [
        ensemble.fit(MemberPredictions(p, ("cnn", "mlp")), some, GROUPS, 0) for p in (proba, other)
    ]
    np.testing.assert_array_equal(models[0].weights, models[1].weights)
    found = ensemble.predict(models[0], MemberPredictions(proba, ("cnn", "mlp")))
    assert found.shape == (N, N_CLASSES)


def test_groups_are_spread_by_the_labels_that_are_known_to_be_present() -> None:
    _, labels, some = hidden()
    present = np.where(HIDDEN, 0, labels)
    g = GROUPS.astype(np.int64)
    counts = group_counts(some, g, n_classes=N_CLASSES)
    np.testing.assert_array_equal(counts, group_counts(present, g, n_classes=N_CLASSES))
    np.testing.assert_array_equal(
        inner_folds(some, GROUPS, seed=0), inner_folds(present, GROUPS, seed=0)
    )


def test_only_several_labels_may_be_unknown() -> None:
    proba, _, some = hidden()
    check_rows(proba, some, GROUPS, n_dims=2)
    one = np.full((N, 2), 0.5)
    with pytest.raises(Exception, match="labels must be 0 to 1"):
        check_rows(one, np.full(N, UNKNOWN), GROUPS, n_dims=2)
