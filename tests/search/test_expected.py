from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from chorale.lightning_models.metrics import Labels, Proba
from chorale.search import judge
from chorale.search.calibration import temperature
from chorale.search.expected import (
    Networks,
    cooling,
    effective,
    expected_accuracy,
    look_at,
    luck_of_choice,
    rise,
    seed_share,
)

N, N_CLASSES = 4000, 4


def said(n_members: int, *, common: float, own: float, seed: int = 0) -> tuple[list[Proba], Labels]:
    """Members that share one error of the size `common` and have one of the size `own` each."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(N_CLASSES, size=N)
    truth = np.eye(N_CLASSES)[labels]
    shared = common * rng.normal(size=truth.shape)
    logits = [truth + shared + own * rng.normal(size=truth.shape) for _ in range(n_members)]
    proba = [np.exp(one) / np.exp(one).sum(axis=1, keepdims=True) for one in logits]
    return proba, labels


def scored(proba: Proba, labels: Labels) -> float:
    return float((proba.argmax(axis=1) == labels).mean())


def right(members: list[Proba], labels: Labels) -> float:
    return scored(np.mean(members, axis=0), labels)


def test_members_that_err_alike_gain_nothing() -> None:
    members, labels = said(5, common=1.0, own=0.0)
    assert rise(members, labels, seed=0) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("own", [0.3, 0.6])
def test_what_many_reach_is_expected_from_a_few(own: float) -> None:
    every, labels = said(40, common=0.6, own=own)
    one = np.mean([right([member], labels) for member in every])
    assert one + rise(every[:4], labels, seed=0) == pytest.approx(right(every, labels), abs=0.02)


@pytest.mark.parametrize("own", [1.0, 2.0])
def test_of_members_that_differ_wildly_less_is_expected_than_comes(own: float) -> None:
    every, labels = said(40, common=0.6, own=own)
    one = np.mean([right([member], labels) for member in every])
    expected = one + rise(every[:4], labels, seed=0)
    assert right(every[:4], labels) < expected < right(every, labels)


def test_a_hundred_members_are_looked_at_by_a_few_of_their_subsets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    every, labels = said(100, common=0.6, own=0.6)
    seen = []

    def score(proba: Proba, labels: Labels) -> float:
        seen.append(len(proba))
        return scored(proba, labels)

    monkeypatch.setattr("chorale.search.expected.accuracy", score)
    one = np.mean([right([member], labels) for member in every])
    assert one + rise(every, labels, seed=0) == pytest.approx(right(every, labels), abs=0.02)
    assert len(seen) <= 12 * 40


@pytest.mark.parametrize("n_members", [1, 2, 5])
@pytest.mark.parametrize("n_folds", [3, 5])
def test_a_vote_of_m_members_goes_from_m_to_m_times_k_networks(
    n_members: int, n_folds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault was to go from one network to K, however many members the vote already had."""
    every, labels = said(60, common=0.6, own=0.5)
    mine, others = every[:n_members], every[n_members : n_members * n_folds]
    networks = Networks(rise(every[:8], labels, seed=0), cooling=0.0, share=1.0, luck=0.0)
    monkeypatch.setattr("chorale.search.expected.COMMON", 0.0)  # these have no rows in common
    found = expected_accuracy(right(mine, labels), networks, n_members=n_members, n_folds=n_folds)
    assert found.accuracy == pytest.approx(right([*mine, *others], labels), abs=0.02)


def test_a_mean_over_folds_gets_a_lower_temperature() -> None:
    every, labels = said(30, common=0.6, own=0.8)
    one, many = temperature(every[0], labels), temperature(np.mean(every, axis=0), labels)
    networks = Networks(rise=0.1, cooling=cooling(every[:8], labels, seed=0), share=1.0, luck=0.0)
    found = one * networks.cooler(n_members=1, n_folds=30)
    assert many < one
    assert found == pytest.approx(many, rel=0.1)
    assert networks.cooler(n_members=5, n_folds=5) > networks.cooler(n_members=1, n_folds=5)
    assert cooling(every[:1], labels, seed=0) == 0


def test_only_the_part_that_comes_with_another_seed_counts() -> None:
    rng = np.random.default_rng(0)
    one_seed = rng.normal(0, 2.0, (6, 500, 3))  # of each configuration
    members, again = (list(one_seed + rng.normal(0, 1.0, one_seed.shape)) for _ in range(2))
    assert seed_share(members, again, n_seeds=1) == pytest.approx(1 / 5, abs=0.02)
    mean = list(one_seed + rng.normal(0, 1.0, (4, *one_seed.shape)).mean(axis=0))
    assert seed_share(mean, again, n_seeds=4) == pytest.approx(0.25 / 4.25, abs=0.02)
    assert seed_share(members, again[1:] + again[:1], n_seeds=1) > 0.9


def rows_right(*rows: str) -> list[Proba]:
    """What members say who are right where there is a 1; the labels are all 0."""
    return [np.eye(2)[[int(mark == "0") for mark in row]] for row in rows]


SAME = np.zeros(10, dtype=np.int64)


def test_configurations_are_as_lucky_as_seeds_where_both_vary_alike() -> None:
    """Over track, members differ by 2/10 (variance), their seeds by 1/10; seeds' luck is 0.2."""
    now = rows_right("1111001100", "1111000011")
    then = rows_right("1111111100", "1111110011")  # 0.8, and now 0.6
    assert luck_of_choice(now, then, SAME) == pytest.approx(0.2 * (0.2 / 0.1 - 1))
    assert luck_of_choice(now, then, SAME, of_seeds=0.1) == pytest.approx(0.3)
    baseline = rows_right("0000011111")  # says the same again
    assert luck_of_choice(now + baseline, then + baseline, SAME) == pytest.approx(0.2)


def test_nobody_was_lucky_where_nothing_became_worse() -> None:
    now, then = rows_right("1111111100", "1111110011"), rows_right("1111001100", "1111000011")
    assert luck_of_choice(now, then, SAME) == 0
    assert luck_of_choice(now, now, SAME) == 0
    assert luck_of_choice(now[:1], then[:1], SAME, of_seeds=0.5) == 0
    sure = [0.9 * one + 0.05 for one in now]  # another network that is right where this one is
    assert luck_of_choice(now, sure, SAME, of_seeds=0.5) == 0


def test_configurations_that_are_one_to_the_seed_had_no_luck_of_their_own() -> None:
    now = rows_right("1111001100", "1111001100")
    assert luck_of_choice(now, rows_right("1111111100", "1111111100"), SAME) == 0


def test_luck_is_taken_away_and_never_more_than_there_was() -> None:
    networks = Networks(rise=0.1, cooling=0.0, share=0.5, luck=0.03)
    found = expected_accuracy(0.7, networks, n_members=2, n_folds=5)
    assert found.accuracy == pytest.approx(0.7 + found.gain - 0.03)
    two = expected_accuracy(0.7, networks, n_members=2, n_folds=5, luck_of_kind=0.01)
    assert two.accuracy == pytest.approx(found.accuracy - 0.01)
    none = expected_accuracy(0.01, networks, n_members=2, n_folds=5, luck_of_kind=0.2)
    assert none.accuracy == pytest.approx(none.gain)
    assert expected_accuracy(1.0, networks, n_members=2, n_folds=5).accuracy <= 1


def test_where_nothing_can_be_seen_the_plain_out_of_fold_figure_is_said() -> None:
    members, labels = said(3, common=0.5, own=0.5)
    at = np.arange(10)
    same = look_at(members, labels, again=[m[at] for m in members], at=at, n_seeds=1, seed=0)
    alone = look_at(members[:1], labels, again=[members[1][at]], at=at, n_seeds=1, seed=0)
    for networks in (same, alone):
        found = expected_accuracy(0.7, networks, n_members=1, n_folds=5)
        assert (found.gain, found.accuracy) == (0.0, 0.7)


def test_more_folds_gain_more_and_nothing_passes_one() -> None:
    networks = Networks(rise=0.3, cooling=0.0, share=0.8, luck=0.0)
    three, ten = (expected_accuracy(0.6, networks, n_members=2, n_folds=n) for n in (3, 10))
    assert 0 < three.gain < ten.gain
    assert expected_accuracy(0.99, networks, n_members=1, n_folds=10).accuracy == 1
    assert ten.as_dict().keys() == {
        "accuracy",
        "out_of_fold",
        "gain",
        "luck",
        "luck_of_kind",
        "n_folds",
    }


def test_members_of_unequal_weight_count_as_fewer() -> None:
    assert effective([0.25] * 4) == pytest.approx(4)
    assert effective([5, 0]) == 1
    assert 1 < effective([0.9, 0.1]) < 1.5


def test_neither_the_order_of_members_nor_that_of_tracks_matters() -> None:
    members, labels = said(4, common=0.5, own=0.5)
    order = np.random.default_rng(1).permutation(N)
    turned = [member[order] for member in members[::-1]]
    assert rise(turned, labels[order], seed=0) == pytest.approx(rise(members, labels, seed=0))


@pytest.mark.parametrize(
    ("weights", "n_members", "share", "luck"),
    [
        ({3: 1.0, 5: 1.0}, 2.0, 0.8, 0.02),
        ({3: 1.0, "svm": 1.0}, 1.0, 0.2, 0.01),
        ({"svm": 1.0}, 1.0, 0.0, 0.0),
    ],
)
def test_baselines_bring_no_folds_networks_to_a_vote(
    weights: dict[int | str, float], n_members: float, share: float, luck: float
) -> None:
    one: Any = SimpleNamespace(weights=weights)
    found, networks = judge._of_networks(one, Networks(0.1, 0.2, 0.8, 0.02))
    assert found == n_members
    assert networks.share == pytest.approx(share)
    assert networks.luck == pytest.approx(luck)
