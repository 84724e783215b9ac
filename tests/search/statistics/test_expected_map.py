"""The expected test mAP: that of out-of-fold sets of its size, plus gain, minus biases."""

from itertools import combinations

import numpy as np
import pytest

from chorale.datasets.label_sets import UNKNOWN
from chorale.lightning_models.multi_label_metrics import mean_average_precision
from chorale.search.statistics.calibration import fit_temperature
from chorale.search.statistics.expected_map import (
    ExpectedMap,
    expected_map,
    map_gain,
    map_of_sets,
    own_map,
    probable_map,
)

N, N_LABELS, N_FOLDS = 240, 4, 3
GROUPS = np.arange(N) // 10


def networks(
    n_folds: int = N_FOLDS, *, own: float = 0.8, n: int = N, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (n_folds, n, n_labels) of networks with an error of their own, and labels."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, N_LABELS)) < np.linspace(0.1, 0.4, N_LABELS)).astype(np.uint8)
    score = 2.0 * labels - 1 + 0.6 * rng.standard_normal((n, N_LABELS))
    score = score + own * rng.standard_normal((n_folds, n, N_LABELS))
    return 1 / (1 + np.exp(-2 * score)), labels


def expect(*, configuration: float = 0.0, kind: float = 0.0, n_test: int = 60) -> ExpectedMap:
    proba, labels = networks()
    return expected_map(
        proba[0],
        labels,
        GROUPS,
        networks(n=n_test, seed=1)[0],
        configuration_bias=configuration,
        kind_bias=kind,
        seed=0,
    )


def test_the_expected_map_is_out_of_fold_with_all_corrections() -> None:
    proba, labels = networks()
    found = expect(configuration=0.03, kind=0.01)
    assert found.out_of_fold == mean_average_precision(proba[0], labels)
    assert found.gain > 0.01
    assert found.set_size > 0
    assert found.mAP == pytest.approx(found.out_of_fold + found.set_size + found.gain - 0.03 - 0.01)
    assert (found.n_folds, found.n_tracks) == (N_FOLDS, 60)
    assert found.as_dict()["mAP"] == found.mAP


def test_a_label_that_is_not_scored_changes_nothing() -> None:
    proba, labels = networks()
    by_fold, rng = networks(n=60, seed=1)[0], np.random.default_rng(2)

    def estimate(*parts: np.ndarray) -> ExpectedMap:
        biases = {"configuration_bias": 0.0, "kind_bias": 0.0}
        return expected_map(parts[0], parts[1], GROUPS, parts[2], seed=0, **biases)

    unscored = np.full((N, 1), UNKNOWN, np.int8)
    more = (
        np.append(proba[0], rng.random((N, 1)), axis=1),
        np.append(labels.astype(np.int8), unscored, axis=1),
        np.append(by_fold, rng.random((N_FOLDS, 60, 1)), axis=2),
    )
    assert estimate(*more) == estimate(proba[0], labels, by_fold)


def test_sets_of_fewer_rows_have_a_higher_map() -> None:
    proba, labels = networks()
    values = [map_of_sets(proba[0], labels, GROUPS, n, seed=0) for n in (20, 60, 120)]
    assert values == sorted(values, reverse=True)
    assert values[0] > mean_average_precision(proba[0], labels) + 0.03
    assert map_of_sets(proba[0], labels, GROUPS, N, seed=0) == mean_average_precision(
        proba[0], labels
    )


def test_the_mean_over_sets_is_that_over_all_sets_of_groups() -> None:
    proba, labels = networks(n=60)
    groups = np.arange(60) // 10
    every = [
        mean_average_precision(proba[0][rows], labels[rows])
        for pair in combinations(range(6), 2)
        for rows in [np.isin(groups, pair)]
    ]
    found = map_of_sets(proba[0], labels, groups, 20, seed=0)
    assert found == pytest.approx(np.mean(every), abs=0.01)


def test_a_truth_that_is_certain_gives_the_map_itself() -> None:
    proba, labels = networks()
    assert probable_map(proba[0], labels) == pytest.approx(
        mean_average_precision(proba[0], labels), rel=1e-9
    )


@pytest.mark.parametrize("own", [0.3, 0.5, 0.8])
def test_the_gain_of_averaging_is_estimated_without_labels(own: float) -> None:
    proba, labels = networks(own=own, n=2000)
    one = float(np.mean([mean_average_precision(each, labels) for each in proba]))
    gain = mean_average_precision(proba.mean(axis=0), labels) - one
    temperature = fit_temperature(proba[0], labels)
    reached = (one + own_map(proba, temperature)) / 2
    assert map_gain(proba, reached, temperature) == pytest.approx(gain, abs=0.025)


def test_calibrated_networks_know_their_own_map() -> None:
    rng = np.random.default_rng(0)
    logits = 1.5 * rng.standard_normal((1, 20_000, N_LABELS)) - 1
    labels = (rng.random(logits[0].shape) < 1 / (1 + np.exp(-logits[0]))).astype(np.uint8)
    proba = 1 / (1 + np.exp(-logits / 2))  # underconfident: calibrated at a temperature of a half
    value = mean_average_precision(proba[0], labels)
    assert own_map(proba, 0.5) == pytest.approx(value, abs=0.02)
    assert own_map(proba, 1.0) < value - 0.05


def test_copies_of_one_network_give_no_gain() -> None:
    proba, _ = networks(1)
    assert map_gain(np.repeat(proba, 3, axis=0), 0.7, 1.0) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("bias", [0.0, 0.9])
def test_the_expected_map_stays_between_0_and_1(bias: float) -> None:
    labels = networks()[1]
    for proba in (0.9 * labels + 0.05, 0.95 - 0.9 * labels):
        found = expected_map(
            proba,
            labels,
            GROUPS,
            networks(n=60, seed=1)[0],
            configuration_bias=bias,
            kind_bias=bias,
            seed=0,
        )
        assert 0 <= found.mAP <= 1


@pytest.mark.parametrize("reached", [0.25, 0.4, 0.5, 0.6])
def test_a_low_map_of_rare_labels_still_gives_a_gain(reached: float) -> None:
    """A temperature that made rare labels frequent gave none where the mAP was low."""
    proba, _ = networks(own=1.5, n=150)
    assert map_gain(proba, reached, 1.0) > 0.005
