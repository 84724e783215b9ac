"""The promotion gate on tracks of several labels: by mAP, recalls at the labels' thresholds."""

from collections.abc import Callable

import numpy as np
import pytest

from chorale.datasets.label_sets import UNKNOWN
from chorale.search.champion.registry.gate import Contender, Gate, Verdict, decide_promotion

NAMES = ("bass", "drums", "piano")

Model = Callable[[float], np.ndarray]


def night(seed: int, *, n_groups: int = 20, size: int = 8) -> tuple[np.ndarray, np.ndarray, Model]:
    """Labels (n, 3), groups (n,), and a function that makes a model of a skill."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_groups), size)
    shape = (len(groups), len(NAMES))
    of_group = rng.standard_normal((n_groups, len(NAMES)))
    labels = (of_group[groups] + rng.standard_normal(shape) > (1.4, 0.9, 0.4)).astype(np.uint8)
    hard = 0.5 * rng.standard_normal((n_groups, len(NAMES)))[groups] + rng.standard_normal(shape)

    def model(skill: float) -> np.ndarray:
        score = skill * labels + hard + 0.4 * rng.standard_normal(shape)
        return np.asarray(1 / (1 + np.exp(-score)))

    return labels, groups, model


def test_a_candidate_with_a_higher_map_is_promoted() -> None:
    labels, groups, model = night(0)
    candidate, champion = Contender(model(3.0)), Contender(model(1.5))
    found = decide_promotion(candidate, champion, labels, groups, NAMES, Gate())
    assert found.verdict is Verdict.PROMOTED
    assert found.difference is not None
    assert found.lower is not None
    assert 0 < found.lower < found.difference
    assert found.reason.endswith("(95%)")
    assert "points of mAP" in found.reason
    back = decide_promotion(champion, candidate, labels, groups, NAMES, Gate())
    assert back.verdict == Verdict.KEPT
    assert back.difference == pytest.approx(-found.difference)


def test_predictions_of_unknown_labels_do_not_count() -> None:
    labels, groups, model = night(0)
    hidden = np.random.default_rng(1).random(labels.shape) < 0.5
    some = np.where(hidden, UNKNOWN, labels).astype(np.int8)
    noise = np.random.default_rng(2).random(labels.shape)
    champion, best = Contender(model(1.5)), model(3.0)
    gate = Gate(class_floor=0.1)
    first, second = (
        decide_promotion(Contender(proba), champion, some, groups, NAMES, gate)
        for proba in (best, np.where(hidden, noise, best))
    )
    assert first == second
    assert first.verdict is Verdict.PROMOTED


def test_few_groups_are_inconclusive_and_the_tracks_needed_are_more_than_there_are() -> None:
    labels, groups, model = night(3, n_groups=5)
    found = decide_promotion(
        Contender(model(1.8)), Contender(model(1.5)), labels, groups, NAMES, Gate()
    )
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "40 tracks of 5 groups are too few" in found.reason
    assert found.n_tracks_needed is not None
    assert found.n_tracks_needed > len(labels)


def test_a_candidate_that_is_no_better_is_rarely_promoted() -> None:
    promoted = 0
    for seed in range(100):
        labels, groups, model = night(seed, n_groups=10)
        both = Contender(model(1.5)), Contender(model(1.5))
        found = decide_promotion(*both, labels, groups, NAMES, Gate(), seed=seed)
        promoted += found.verdict is Verdict.PROMOTED
    assert promoted <= 11  # 5 % of 100; twelve and more have a probability of 0.4 %


def test_the_recall_of_each_label_is_that_of_the_predicted_labels() -> None:
    labels, groups, model = night(0)
    candidate = Contender(model(3.0), predicted=labels > 0)
    assert decide_promotion(
        candidate, None, labels, groups, NAMES, Gate(class_floor=1.0)
    ).reason.startswith("there was no champion; the candidate's test mAP is ")
    missed = labels > 0
    missed[:, 1] = False
    found = decide_promotion(
        Contender(model(3.0), predicted=missed), None, labels, groups, NAMES, Gate(class_floor=0.5)
    )
    assert found.verdict is Verdict.KEPT
    assert "its recall of 'drums' is 0.0%, below the minimum of 50%" in found.reason


def test_a_first_champion_is_not_promoted_where_a_baseline_has_a_higher_map() -> None:
    labels, groups, model = night(0)
    baseline = "svm", model(4.0)
    found = decide_promotion(
        Contender(model(1.0)), None, labels, groups, NAMES, Gate(), baseline=baseline
    )
    assert found.verdict is Verdict.KEPT
    assert "the candidate's test mAP is" in found.reason
