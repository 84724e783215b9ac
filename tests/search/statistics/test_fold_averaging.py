"""What the mean over folds brings, seen without a label."""

import numpy as np
import pytest

from chorale.search.statistics.calibration import temperature
from chorale.search.statistics.fold_averaging import LEAST_RATIO, of_folds

N, N_CLASSES = 3000, 6


def networks(
    n_folds: int, *, common: float, own: float, scale: float = 1.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """What networks say that share one error of the size `common` and have one of `own` each."""
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
def test_the_gain_is_told_without_a_label(
    n_folds: int, common: float, own: float, scale: float
) -> None:
    """Whether the networks are too timid or too sure matters little."""
    said, labels = networks(n_folds, common=common, own=own, scale=scale)
    one = float(np.mean([right(each, labels) for each in said]))
    true = right(said.mean(axis=0), labels) - one
    found = of_folds(said, temperature(said[0], labels))
    assert found.gain == pytest.approx(true, abs=0.015, rel=0.2)


def test_more_folds_bring_more() -> None:
    said, labels = networks(8, common=0.5, own=0.7)
    at = temperature(said[0], labels)
    gains = [of_folds(said[:n], at).gain for n in (2, 4, 8)]
    assert gains == sorted(gains)
    assert gains[0] > 0.01


def test_a_mean_gets_a_lower_temperature() -> None:
    """That which makes the mean as sure as it is right, over that of one network."""
    said, labels = networks(6, common=0.6, own=0.5)
    mean = temperature(said.mean(axis=0), labels)
    each = float(np.mean([temperature(network, labels) for network in said]))
    assert mean < each
    assert of_folds(said, each).temperature_ratio == pytest.approx(mean / each, rel=0.1)


@pytest.mark.parametrize("at", [0.1, 1.0, 5.0])
def test_one_network_again_and_again_brings_nothing(at: float) -> None:
    said, _ = networks(1, common=0.5, own=0.5)
    found = of_folds(np.repeat(said, 3, axis=0), at)
    assert found.gain == pytest.approx(0, abs=1e-3)
    assert found.temperature_ratio == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("at", [0.05, 0.5, 20.0])
def test_nothing_passes_what_is_left_whatever_temperature_is_told(at: float) -> None:
    said, _ = networks(3, common=0.5, own=0.8)
    found = of_folds(said, at)
    agree = np.mean(said.argmax(axis=2) == said.mean(axis=0).argmax(axis=1))
    assert 0 <= found.gain <= 1 - agree + 1e-9
    assert 0 < found.temperature_ratio <= 1


def test_networks_that_are_surer_than_they_agree_keep_their_temperature() -> None:
    """As on two unheard speakers: a study of spoken digits was expected to be right always."""
    said, _ = networks(3, common=0.3, own=1.5)
    mean = said.mean(axis=0).argmax(axis=1)
    agree = float(np.mean([one.argmax(axis=1) == mean for one in said]))
    found = of_folds(said, 0.05)  # at which they are all but certain
    assert agree < 0.9
    assert found.temperature_ratio == 1
    assert 0 < found.gain < 1 - agree


def test_the_temperature_of_a_mean_does_not_fall_without_end() -> None:
    """Where networks are nearly as sure as they agree, only certainty of the mean would fit."""
    said, _ = networks(3, common=0.3, own=1.5)
    some = said[:, :300]
    ratios = [of_folds(some, at).temperature_ratio for at in np.geomspace(0.06, 4.0, 60)]
    assert min(ratios) == pytest.approx(LEAST_RATIO)
    assert max(ratios) == 1


def test_of_many_rows_some_are_looked_at() -> None:
    said, _ = networks(3, common=0.5, own=0.8)
    found, more = of_folds(said[:, :1900], 0.6), of_folds(np.repeat(said[:, :1900], 4, axis=1), 0.6)
    assert more.gain == pytest.approx(found.gain, abs=0.01)
