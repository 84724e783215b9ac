import numpy as np
import pytest

from chorale.datasets.errors import UserError
from chorale.lightning_models.multi_label_metrics import mean_average_precision
from chorale.search.statistics.calibration import (
    calibrate,
    fit_temperature,
    validated_temperature,
)
from chorale.search.statistics.conformal import covers, fit_conformal
from chorale.search.statistics.inner_folds import inner_folds
from chorale.search.statistics.jackknife import MAX_BLOCKS, deleted_blocks, standard_error
from chorale.search.statistics.main_score import main_score_of, metric_name
from chorale.search.statistics.multi_label_scores import (
    map_difference,
    score_labels,
    weighted_maps,
)
from chorale.search.statistics.scores import optimism
from chorale.search.statistics.selection import NestedPredictions, choose_kind
from chorale.search.statistics.thresholds import (
    COMMON_ROWS,
    _best,
    cross_thresholds,
    fit_thresholds,
    labels_above,
)

N, N_CLASSES = 240, 4
GROUPS = np.arange(N) // 6


def draw(
    seed: int = 0, *, n: int = N, skill: float = 1.5, temperature: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated probabilities of labels, if `temperature` is 1, and the labels."""
    rng = np.random.default_rng(seed)
    logits = skill * rng.normal(size=(n, N_CLASSES)) + np.linspace(-2, 0.5, N_CLASSES)
    labels = (rng.random((n, N_CLASSES)) < 1 / (1 + np.exp(-logits))).astype(np.uint8)
    return 1 / (1 + np.exp(-logits / temperature)), labels


def test_scores_hold_the_map_and_its_interval() -> None:
    proba, labels = draw()
    found = score_labels(proba, labels, GROUPS).as_dict()
    assert found["mAP"] == mean_average_precision(proba, labels)
    low, high = found["ci95"]
    assert 0 < low < found["mAP"] < high < 1
    assert (found["n"], found["n_groups"], found["few_groups"]) == (N, 40, False)
    assert main_score_of(found) == found["mAP"]
    assert metric_name(found) == "mAP"
    assert optimism({"validation": {"mAP": 0.6}, "out_of_fold": {"mAP": 0.5}, "test": found}) == {
        "validation": pytest.approx(0.6 - found["mAP"]),
        "out_of_fold": pytest.approx(0.5 - found["mAP"]),
    }


def test_weighted_rows_count_as_repeated_rows() -> None:
    proba, labels = draw()
    proba = np.round(proba, 1)  # ties
    times = np.random.default_rng(0).integers(0, 3, N)
    repeated = np.repeat(np.arange(N), times)
    found = weighted_maps(proba, labels, np.stack([times, np.ones(N)]).astype(np.float64))
    expected = [mean_average_precision(proba[rows], labels[rows]) for rows in (repeated, range(N))]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_jackknife_of_a_mean_is_its_cluster_standard_error() -> None:
    values = np.random.default_rng(0).normal(size=N)
    blocks = deleted_blocks(GROUPS)
    weights = blocks.without_each()
    means = weights @ values / weights.sum(axis=1)
    by_group = values.reshape(-1, 6).mean(axis=1)
    assert standard_error(means) == pytest.approx(by_group.std(ddof=1) / np.sqrt(40), rel=1e-9)


def test_many_groups_are_deleted_in_random_blocks_of_whole_groups() -> None:
    groups = np.repeat(np.arange(500), 2)
    blocks = deleted_blocks(groups)
    assert blocks.n == MAX_BLOCKS
    assert all(len(set(blocks.of_row[groups == g])) == 1 for g in range(500))
    neighbours = blocks.of_row[::2][1:] - blocks.of_row[::2][:-1]
    assert len(set(neighbours.tolist())) > 20  # not dealt in order


def test_a_perfect_ranking_still_has_an_interval() -> None:
    _, labels = draw()
    proba = 0.2 + 0.6 * labels
    low, high = score_labels(proba, labels, GROUPS).ci95
    assert 0.8 < low < 1
    assert high == 1
    assert score_labels(proba, labels, np.zeros(N)).ci95 == (0, 1)


def test_a_difference_is_paired() -> None:
    proba, labels = draw()
    noisy = np.clip(proba + 0.02 * np.random.default_rng(1).normal(size=proba.shape), 0, 1)
    difference, (low, high) = map_difference(proba, noisy, labels, GROUPS)
    one = score_labels(proba, labels, GROUPS).ci95
    assert low <= difference <= high
    assert high - low < 0.5 * (one[1] - one[0])
    assert map_difference(proba, proba, labels, GROUPS) == (0, (0, 0))
    assert map_difference(proba, proba**2, labels, GROUPS) == (0, (0, 0))  # ranked equally
    worse = np.random.default_rng(2).random(proba.shape)
    assert map_difference(proba, worse, labels, GROUPS)[1][0] > 0


def test_a_temperature_is_found_again() -> None:
    proba, labels = draw(n=6000, temperature=2.0)  # underconfident
    found = fit_temperature(proba, labels)
    assert found == pytest.approx(0.5, abs=0.05)
    after = calibrate(proba, found, multi_label=True)
    assert np.argsort(after[:, 1]).tolist() == np.argsort(proba[:, 1]).tolist()
    folds = inner_folds(labels, np.arange(6000) // 6, seed=0)
    assert validated_temperature(proba, labels, folds)[0] == pytest.approx(found)


def test_inner_folds_hold_whole_groups_and_every_label() -> None:
    _, labels = draw()
    folds = inner_folds(labels, GROUPS, seed=0)
    assert all(len(set(folds[group == GROUPS])) == 1 for group in set(GROUPS))
    assert all(labels[folds == fold].any(axis=0).all() for fold in range(5))


def test_thresholds_have_the_highest_f1_and_rare_labels_nearly_share_one() -> None:
    proba, labels = draw(n=20_000)
    labels[:, 0] = 0
    found = fit_thresholds(proba, labels)
    for label in range(1, N_CLASSES):
        truth = labels[:, label] > 0

        def f1(threshold: float, label: int = label, truth: np.ndarray = truth) -> float:
            chosen = proba[:, label] >= threshold
            return float(2 * (chosen & truth).sum() / (chosen.sum() + truth.sum()))

        best = max(f1(value) for value in np.linspace(0.05, 0.95, 200))
        assert f1(found[label]) == pytest.approx(best, abs=0.001)
    common = float(_best(proba.ravel(), labels.ravel()))
    assert found[0] == pytest.approx(common)
    labels[:COMMON_ROWS, 0] = 1
    own, common = _best(proba[:, 0], labels[:, 0]), _best(proba.ravel(), labels.ravel())
    odds = [one / (1 - one) for one in (own, common)]
    halfway = np.sqrt(odds[0] * odds[1])  # as many rows as the common one is worth
    assert fit_thresholds(proba, labels)[0] == pytest.approx(halfway / (1 + halfway))
    assert labels_above(proba, found).shape == labels.shape


def test_no_row_is_decided_by_a_threshold_that_was_fitted_on_it() -> None:
    proba, labels = draw()
    folds = inner_folds(labels, GROUPS, seed=0)
    found = cross_thresholds(proba, labels, folds)
    changed = labels.copy()
    changed[folds == 2] = 1 - changed[folds == 2]
    again = cross_thresholds(proba, changed, folds)
    np.testing.assert_array_equal(found[folds == 2], again[folds == 2])
    assert (found[folds != 2] != again[folds != 2]).any()


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_sets_hold_the_wanted_share_of_a_tracks_labels(coverage: float) -> None:
    found = []
    for seed in range(60):
        proba, labels = draw(seed, n=2 * N)
        some = labels.any(axis=1)
        rows, rest = np.flatnonzero(some)[::2], np.flatnonzero(some)[1::2]
        sets = fit_conformal(proba[rows], labels[rows], rows, coverage=coverage).sets(proba[rest])
        found.append(covers(sets, labels[rest]).mean())
    assert coverage - 0.01 <= np.mean(found) <= coverage + 0.03


def test_the_kind_of_ensemble_is_chosen_by_log_loss_with_its_map_beside() -> None:
    proba, labels = draw()
    worse = np.clip(0.7 * proba + 0.3 * np.random.default_rng(0).random(proba.shape), 0, 1)
    nested = {
        "soft_vote": NestedPredictions(worse, worse),
        "stacking": NestedPredictions(proba, proba),
    }
    choice = choose_kind(nested, labels, GROUPS, seed=0)
    assert choice.kind == "stacking"
    assert choice.figures["stacking"]["mAP"] == mean_average_precision(proba, labels)
    assert choice.figures["stacking"]["gain_se"] > 0
    assert choice.figures["soft_vote"]["gain"] == 0
    assert "its mAP is" in choice.reason


def test_labels_of_another_shape_are_refused() -> None:
    proba, labels = draw()
    with pytest.raises(UserError, match="labels must be 0 to 1"):
        score_labels(proba, labels * 2, GROUPS)
    with pytest.raises(UserError, match="same tracks"):
        score_labels(proba, labels[:-1], GROUPS)


def test_tracks_without_a_label_do_not_enlarge_the_sets() -> None:
    """When their weight was lost, a third of such tracks made every set hold all labels."""
    proba, labels = draw(n=2000)
    groups = np.arange(2000) // 10
    without = labels.copy()
    without[::3] = 0
    fitted = fit_conformal(proba, without, groups, coverage=0.8)
    assert fitted.least_proba > 0
    found = covers(fitted.sets(proba), without)
    assert found[~without.any(axis=1)].min() == 1.0
    assert found.mean() == pytest.approx(0.8, abs=0.03)
