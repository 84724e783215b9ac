"""Promotion gate: power, false promotions under the null, limits, and the sample size it names."""

from typing import Any

import numpy as np
import pytest

from chorale.datasets.errors import UserError
from chorale.search.champion.registry.gate import (
    Contender,
    Gate,
    Verdict,
    decide_promotion,
    sign_test,
    tracks_needed,
)

NAMES = ("a", "b", "c")


def predictions(labels: Any, right: Any) -> np.ndarray:
    """One-hot probabilities: the true class where `right`, the next class elsewhere."""
    named = np.where(right, labels, (labels + 1) % len(NAMES))
    return np.asarray(np.eye(len(NAMES))[named])


def tracks(n_groups: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    n = n_groups * size
    return np.arange(n) % len(NAMES), np.repeat(np.arange(n_groups), size)


def test_a_candidate_that_is_better_in_most_groups_is_promoted() -> None:
    labels, groups = tracks(40, 5)
    rng = np.random.default_rng(0)
    champion = rng.random(200) < 0.6
    candidate = champion | (rng.random(200) < 0.5)
    found = decide_promotion(
        Contender(predictions(labels, candidate)),
        Contender(predictions(labels, champion)),
        labels,
        groups,
        NAMES,
        Gate(),
    )
    assert found.verdict is Verdict.PROMOTED
    assert found.difference == pytest.approx(candidate.mean() - champion.mean())
    assert found.lower is not None
    assert 0 < found.lower < candidate.mean() - champion.mean()
    assert "better" in found.reason


def test_the_same_model_is_not_promoted() -> None:
    labels, groups = tracks(20, 4)
    same = Contender(predictions(labels, np.arange(80) % 3 > 0))
    found = decide_promotion(same, same, labels, groups, NAMES, Gate())
    assert (found.verdict, found.difference) == (Verdict.KEPT, 0.0)


def test_the_first_candidate_is_promoted_without_a_champion() -> None:
    labels, groups = tracks(5, 4)
    found = decide_promotion(
        Contender(predictions(labels, labels < 1)), None, labels, groups, NAMES, Gate()
    )
    assert found.verdict is Verdict.PROMOTED


def test_a_first_champion_is_not_promoted_where_a_baseline_is_better() -> None:
    labels, groups = tracks(20, 4)
    rng = np.random.default_rng(0)
    right = rng.random(80) < 0.75
    forest = "random_forest", predictions(labels, right)
    worse = Contender(predictions(labels, right & (rng.random(80) < 0.8)))
    found = decide_promotion(worse, None, labels, groups, NAMES, Gate(), baseline=forest)
    assert found.verdict is Verdict.KEPT
    assert f"that of the baseline random_forest {right.mean():.1%}" in found.reason
    assert "gate.beat_baseline: false" in found.reason
    lenient = Gate(beat_baseline=False)
    found = decide_promotion(worse, None, labels, groups, NAMES, lenient, baseline=forest)
    assert found.verdict is Verdict.PROMOTED


@pytest.mark.parametrize("n_behind", [0, 1])
def test_a_baseline_within_one_standard_error_prevents_no_promotion(n_behind: int) -> None:
    labels, groups = tracks(20, 4)
    right = np.arange(80) % 3 > 0
    theirs = right.copy()
    theirs[np.flatnonzero(~right)[:n_behind]] = True
    mine, svm = Contender(predictions(labels, right)), ("svm", predictions(labels, theirs))
    found = decide_promotion(mine, None, labels, groups, NAMES, Gate(), baseline=svm)
    assert found.verdict is Verdict.PROMOTED


def test_a_candidate_that_beats_the_champion_need_not_beat_a_baseline() -> None:
    labels, groups = tracks(40, 5)
    rng = np.random.default_rng(0)
    champion = rng.random(200) < 0.5
    candidate = champion | (rng.random(200) < 0.5)
    svm = "svm", predictions(labels, np.full(200, True))
    both = Contender(predictions(labels, candidate)), Contender(predictions(labels, champion))
    found = decide_promotion(*both, labels, groups, NAMES, Gate(), baseline=svm)
    assert found.verdict is Verdict.PROMOTED


def test_an_insignificant_gain_is_inconclusive_and_names_the_tracks_needed() -> None:
    labels, groups = tracks(10, 4)
    champion = np.arange(40) % 2 == 0
    candidate = champion.copy()
    candidate[[1, 5, 9]] = True  # two groups better
    candidate[20] = False
    found = decide_promotion(
        Contender(predictions(labels, candidate)),
        Contender(predictions(labels, champion)),
        labels,
        groups,
        NAMES,
        Gate(),
    )
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.n_tracks_needed is not None
    assert found.n_tracks_needed > 40
    assert f"{found.n_tracks_needed:,} tracks are needed" in found.reason


def test_the_number_of_tracks_needed_gives_about_the_planned_power() -> None:
    """With so many tracks, drawn from groups of the same kind, the test has the planned power."""
    rng = np.random.default_rng(3)

    def gains(n_groups: int) -> tuple[np.ndarray, np.ndarray]:
        leans = rng.normal(0.08, 0.1, n_groups).clip(-0.4, 0.4)
        steps = rng.random((n_groups, 5))
        values = np.where(steps < 0.2 + leans[:, None], 1.0, 0.0) - (steps > 0.8)
        return values.ravel(), np.repeat(np.arange(n_groups), 5)

    pilots = [gains(20) for _ in range(60)]
    mean = np.mean([values.mean() for values, _ in pilots])
    sizes = [  # as if the true gain were known
        tracks_needed(values - values.mean() + mean, groups, confidence=0.95)
        for values, groups in pilots
    ]
    needed = int(np.median(sizes))
    n_significant = 0
    for _ in range(200):
        values, groups = gains(needed // 5)
        n_significant += sign_test(values, groups, seed=0) <= 0.05
    assert 0.6 < n_significant / 200 < 0.95


@pytest.mark.parametrize(("n_groups", "n"), [(6, 500), (12, 500), (40, 250)])
def test_under_the_null_false_promotions_stay_below_the_level(n_groups: int, n: int) -> None:
    """`n` decisions between two equally good models; groups are hard or easy for both."""
    rng = np.random.default_rng(n_groups)
    labels, groups = tracks(n_groups, 6)
    promoted = 0
    for night in range(n):
        ease = rng.uniform(0.2, 0.95, n_groups)[groups]
        lean = rng.normal(0, 0.15, (2, n_groups))[:, groups]
        candidate, champion = rng.random((2, len(labels))) < (ease + lean)
        found = decide_promotion(
            Contender(predictions(labels, candidate)),
            Contender(predictions(labels, champion)),
            labels,
            groups,
            NAMES,
            Gate(),
            seed=night,
        )
        promoted += found.verdict is Verdict.PROMOTED
    assert promoted <= 0.05 * n
    if n_groups >= 12:
        assert promoted >= 0.01 * n  # the test is not so conservative that it never promotes


def test_a_gain_below_min_gain_is_not_promoted() -> None:
    labels, groups = tracks(100, 4)
    champion = np.arange(400) % 2 == 0
    candidate = champion | (np.arange(400) % 40 == 1)  # 2.5 points, in every tenth group
    contenders = Contender(predictions(labels, candidate)), Contender(predictions(labels, champion))
    assert decide_promotion(*contenders, labels, groups, NAMES, Gate()).verdict is Verdict.PROMOTED
    found = decide_promotion(*contenders, labels, groups, NAMES, Gate(min_gain=0.03))
    assert found.verdict is Verdict.KEPT
    assert "by more than 3 points" in found.reason


@pytest.mark.parametrize(
    ("gate", "reason"),
    [
        (Gate(class_floor=0.9), "its recall of 'b' is 0.0%, below the minimum of 90%"),
        (Gate(max_latency_ms=20), "a prediction takes 25.0 ms, at most 20 are allowed"),
        (Gate(max_size_mb=1), "it has 3.0 MB, at most 1 are allowed"),
    ],
)
def test_a_candidate_beyond_a_limit_is_not_promoted_even_without_a_champion(
    gate: Gate, reason: str
) -> None:
    labels, groups = tracks(20, 3)
    candidate = Contender(predictions(labels, labels != 1), latency_ms=25.0, size_mb=3.0)
    found = decide_promotion(candidate, None, labels, groups, NAMES, gate)
    assert found.verdict is Verdict.KEPT
    assert reason in found.reason


def test_four_groups_cannot_promote_and_a_single_group_has_no_lower_bound() -> None:
    labels, groups = tracks(4, 10)
    better = Contender(predictions(labels, labels >= 0)), Contender(predictions(labels, labels < 0))
    found = decide_promotion(*better, labels, groups, NAMES, Gate())
    assert found.verdict is Verdict.INCONCLUSIVE  # 1 of 16 sign patterns favours it in all groups
    alone = decide_promotion(*better, labels, np.zeros(40), NAMES, Gate())
    assert (alone.verdict, alone.lower) == (Verdict.INCONCLUSIVE, -1.0)


def test_predictions_for_other_tracks_are_refused() -> None:
    labels, groups = tracks(5, 4)
    right = Contender(predictions(labels, labels >= 0))
    with pytest.raises(UserError, match="same tracks"):
        decide_promotion(right, Contender(right.proba[:-1]), labels, groups, NAMES, Gate())
