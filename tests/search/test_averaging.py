"""What the mean over folds brings, seen without a label."""

import numpy as np
import pytest

from chorale.search.averaging import Averaged, of_folds
from chorale.search.calibration import temperature

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
    assert of_folds(said, one).gain == pytest.approx(true, abs=0.015, rel=0.2)


def test_more_folds_bring_more() -> None:
    said, labels = networks(8, common=0.5, own=0.7)
    one = float(np.mean([right(each, labels) for each in said]))
    gains = [of_folds(said[:n], one).gain for n in (2, 4, 8)]
    assert gains == sorted(gains)
    assert gains[0] > 0.01


def test_a_mean_gets_a_lower_temperature() -> None:
    """That which makes the mean as sure as it is right, over that of one network."""
    said, labels = networks(6, common=0.6, own=0.5)
    one = float(np.mean([right(each, labels) for each in said]))
    mean = temperature(said.mean(axis=0), labels)
    each = np.mean([temperature(network, labels) for network in said])
    assert mean < each
    assert of_folds(said, one).cooler == pytest.approx(mean / each, rel=0.1)


@pytest.mark.parametrize("accuracy", [0.0, 0.3, 1.0])
def test_one_network_again_and_again_brings_nothing(accuracy: float) -> None:
    said, _ = networks(1, common=0.5, own=0.5)
    found = of_folds(np.repeat(said, 3, axis=0), accuracy)
    assert found.gain == pytest.approx(0, abs=1e-3)
    assert found.cooler == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("accuracy", [0.0, 0.01, 0.99, 1.0])
def test_nothing_passes_one_whatever_accuracy_is_told(accuracy: float) -> None:
    said, _ = networks(3, common=0.5, own=0.8)
    found = of_folds(said, accuracy)
    assert 0 <= found.gain <= 1 - accuracy
    assert 0 < found.cooler <= 1


def test_networks_that_agree_less_than_they_were_right_are_on_harder_rows() -> None:
    """As on two unheard speakers: a study of spoken digits was expected to be right always."""
    said, _ = networks(3, common=0.3, own=1.5)
    mean = said.mean(axis=0).argmax(axis=1)
    agree = float(np.mean([one.argmax(axis=1) == mean for one in said]))
    found = of_folds(said, agree + 0.03)
    assert 0 < found.gain < 1 - agree - 0.06
    assert found.cooler == 1
    almost = of_folds(said, agree - 0.003)  # where only certainty would make it true
    assert almost.cooler == pytest.approx(0.3)
    assert almost.gain < 1 - agree - 0.01


def test_of_many_rows_some_are_looked_at() -> None:
    said, _ = networks(3, common=0.5, own=0.8)
    found, more = of_folds(said[:, :1900], 0.6), of_folds(np.repeat(said[:, :1900], 4, axis=1), 0.6)
    assert more.gain == pytest.approx(found.gain, abs=0.01)
    assert isinstance(more, Averaged)
