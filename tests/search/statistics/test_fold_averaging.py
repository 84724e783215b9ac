"""The gain of averaging over folds, estimated without labels."""

import numpy as np
import pytest

from chorale.search.statistics.calibration import fit_temperature
from chorale.search.statistics.fold_averaging import MIN_TEMPERATURE_RATIO, estimate_fold_averaging

N, N_CLASSES = 3000, 6


def networks(
    n_folds: int, *, common: float, own: float, scale: float = 1.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Predictions with a shared error of size `common` and one of size `own` of each network."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(N_CLASSES, size=N)
    shared = 1.5 * np.eye(N_CLASSES)[labels] + common * rng.normal(size=(N, N_CLASSES))
    logits = scale * (shared + own * rng.normal(size=(n_folds, N, N_CLASSES)))
    return np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True), labels


def right(proba: np.ndarray, labels: np.ndarray) -> float:
    return float((proba.argmax(axis=-1) == labels).mean())


@pytest.mark.parametrize("n_folds", [3, 5])
@pytest.mark.parametrize(("common", "own"), [(0.6, 0.6), (0.9, 0.3), (0.5, 0.8)])
@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_the_gain_is_estimated_without_labels(
    n_folds: int, common: float, own: float, scale: float
) -> None:
    """Whether the networks are over- or underconfident matters little."""
    proba, labels = networks(n_folds, common=common, own=own, scale=scale)
    one = float(np.mean([right(each, labels) for each in proba]))
    true = right(proba.mean(axis=0), labels) - one
    found = estimate_fold_averaging(proba, fit_temperature(proba[0], labels))
    assert found.gain == pytest.approx(true, abs=0.015, rel=0.2)


def test_more_folds_give_a_larger_gain() -> None:
    proba, labels = networks(8, common=0.5, own=0.7)
    at = fit_temperature(proba[0], labels)
    gains = [estimate_fold_averaging(proba[:n], at).gain for n in (2, 4, 8)]
    assert gains == sorted(gains)
    assert gains[0] > 0.01


def test_a_mean_of_networks_gets_a_lower_temperature() -> None:
    """The ratio is the mean's calibrating temperature over that of one network."""
    proba, labels = networks(6, common=0.6, own=0.5)
    mean = fit_temperature(proba.mean(axis=0), labels)
    each = float(np.mean([fit_temperature(network, labels) for network in proba]))
    assert mean < each
    assert estimate_fold_averaging(proba, each).temperature_ratio == pytest.approx(
        mean / each, rel=0.1
    )


@pytest.mark.parametrize("at", [0.1, 1.0, 5.0])
def test_copies_of_one_network_give_no_gain(at: float) -> None:
    proba, _ = networks(1, common=0.5, own=0.5)
    found = estimate_fold_averaging(np.repeat(proba, 3, axis=0), at)
    assert found.gain == pytest.approx(0, abs=1e-3)
    assert found.temperature_ratio == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("at", [0.05, 0.5, 20.0])
def test_the_gain_and_the_ratio_are_bounded_at_any_temperature(at: float) -> None:
    proba, _ = networks(3, common=0.5, own=0.8)
    found = estimate_fold_averaging(proba, at)
    agree = np.mean(proba.argmax(axis=2) == proba.mean(axis=0).argmax(axis=1))
    assert 0 <= found.gain <= 1 - agree + 1e-9
    assert 0 < found.temperature_ratio <= 1


def test_networks_more_confident_than_their_agreement_keep_their_temperature() -> None:
    """Seen on two new speakers: a study of spoken digits had an expected accuracy of 100 %."""
    proba, _ = networks(3, common=0.3, own=1.5)
    mean = proba.mean(axis=0).argmax(axis=1)
    agree = float(np.mean([one.argmax(axis=1) == mean for one in proba]))
    found = estimate_fold_averaging(proba, 0.05)  # at which their confidence is nearly 1
    assert agree < 0.9
    assert found.temperature_ratio == 1
    assert 0 < found.gain < 1 - agree


def test_the_temperature_ratio_has_a_lower_bound() -> None:
    """Where confidence nearly equals agreement, only a mean of confidence 1 would fit."""
    proba, _ = networks(3, common=0.3, own=1.5)
    some = proba[:, :300]
    ratios = [
        estimate_fold_averaging(some, at).temperature_ratio for at in np.geomspace(0.06, 4.0, 60)
    ]
    assert min(ratios) == pytest.approx(MIN_TEMPERATURE_RATIO)
    assert max(ratios) == 1


def test_a_subsample_of_many_rows_gives_about_the_same_gain() -> None:
    proba, _ = networks(3, common=0.5, own=0.8)
    found, more = (
        estimate_fold_averaging(proba[:, :1900], 0.6),
        estimate_fold_averaging(np.repeat(proba[:, :1900], 4, axis=1), 0.6),
    )
    assert more.gain == pytest.approx(found.gain, abs=0.01)
