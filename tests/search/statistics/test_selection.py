"""Model selection among kinds of ensembles, by calibrated log loss on held-out groups."""

import json

import numpy as np
import pytest

from chorale.search.combining.cross_fit import cross_fit
from chorale.search.ensembles import soft_vote
from chorale.search.statistics import selection
from chorale.search.statistics.arrays import Floats
from chorale.search.statistics.inner_folds import held_out_masks, inner_folds
from chorale.search.statistics.selection import (
    KindChoice,
    NestedPredictions,
    choose_kind,
    group_standard_error,
)

N = 200
LABELS = np.arange(N) % 2
GROUPS = np.arange(N) // 4


def predicted(n_right: int, *, confidence: float = 0.8) -> Floats:
    """Two classes; the first `n_right` rows are right."""
    right = np.arange(N) < n_right
    proba = np.full((N, 2), 1 - confidence)
    proba[np.arange(N), np.where(right, LABELS, 1 - LABELS)] = confidence
    return proba


def nested(
    n_right: int, n_fitted: int | None = None, *, confidence: float = 0.8
) -> NestedPredictions:
    return NestedPredictions(
        predicted(n_right, confidence=confidence),
        predicted(n_fitted or n_right, confidence=confidence),
    )


def chosen(nested: dict[str, NestedPredictions]) -> KindChoice:
    return choose_kind(nested, LABELS, GROUPS, seed=0)


def test_the_kind_with_the_lowest_loss_is_chosen() -> None:
    found = chosen({"soft_vote": nested(140), "greedy": nested(160)})
    assert found.kind == "greedy"
    assert "10.0 points higher" in found.reason
    assert found.figures["greedy"]["gain"] == pytest.approx(0.1)
    assert [one["verdict"] for one in found.figures.values()][1] == "chosen"
    json.dumps(found.as_dict(), allow_nan=False)


@pytest.mark.parametrize("more", [-3, 0])
def test_among_equals_soft_vote_is_chosen(more: int) -> None:
    found = chosen({"greedy": nested(140 + more), "soft_vote": nested(140)})
    assert found.kind == "soft_vote"
    assert found.figures["greedy"]["gain"] == pytest.approx(more / N)
    assert "greedy" in found.reason


def test_the_choice_does_not_depend_on_calibration() -> None:
    assert (
        chosen({"soft_vote": nested(140), "stacking": nested(160, confidence=0.99)}).kind
        == "stacking"
    )


def test_a_slightly_more_accurate_kind_with_confident_errors_is_not_chosen() -> None:
    """By accuracy alone it would be chosen, because of a few tracks."""
    proba = predicted(145)
    proba[145:] = predicted(145, confidence=0.999)[145:]
    proba[:145] = predicted(145, confidence=0.55)[:145]
    found = chosen({"soft_vote": nested(140), "greedy": NestedPredictions(proba, proba)})
    assert found.figures["greedy"]["gain"] > 0
    assert found.kind == "soft_vote"


@pytest.mark.parametrize("kind", ["stacking", "fusion"])
def test_accuracy_on_fitted_rows_does_not_count(kind: str) -> None:
    found = chosen({"soft_vote": nested(140), kind: nested(135, 199)})
    assert found.kind == "soft_vote"
    assert found.figures[kind]["gap"] == pytest.approx(64 / N)


@pytest.mark.parametrize("kind", selection.COMPARED_ONLY)
def test_kinds_for_comparison_only_are_never_chosen(kind: str) -> None:
    found = chosen({"soft_vote": nested(100), kind: nested(200)})
    assert found.kind == "soft_vote"
    assert found.bias == 0


def test_of_two_better_kinds_the_best_is_chosen() -> None:
    three = {"soft_vote": nested(120), "greedy": nested(150), "stacking": nested(170)}
    assert chosen(three).kind == "stacking"


def test_the_estimated_selection_bias_is_the_true_one_on_average() -> None:
    """Kinds are equally good, so the accuracy of the chosen one is too high by its bias."""
    rng = np.random.default_rng(0)
    estimated, true = [], []
    for _ in range(60):
        labels, groups = rng.integers(2, size=120), np.arange(120) // 6
        right = rng.random((6, 120)) < rng.beta(6, 2, (6, 20))[:, groups]  # 0.75, by group
        proba = np.where(right, 0.8, 0.2)[..., None]
        two = np.concatenate([1 - proba, proba], axis=2)
        mine = np.where(labels[:, None] == 1, two, two[..., ::-1])
        kinds = ("soft_vote", "a", "b", "c", "d", "e")
        found = choose_kind(
            {kind: NestedPredictions(one, one) for kind, one in zip(kinds, mine, strict=True)},
            labels, groups, seed=0,
        )  # fmt: skip
        estimated.append(found.bias)
        true.append(found.figures[found.kind]["accuracy"] - 0.75)
    assert np.mean(true) > 0.03
    assert np.mean(estimated) == pytest.approx(np.mean(true), abs=0.01)


def test_choosing_a_far_better_kind_has_no_selection_bias() -> None:
    assert chosen({"soft_vote": nested(100), "greedy": nested(199)}).bias < 0.005
    one_group = choose_kind(
        {"soft_vote": nested(140), "greedy": nested(150)}, LABELS, np.zeros(N), seed=0
    )
    assert one_group.bias == 0


def test_the_standard_error_of_groups_of_one_is_the_ordinary_one() -> None:
    values = np.random.default_rng(0).normal(size=50)
    ordinary = values.std(ddof=1) / np.sqrt(50)
    assert group_standard_error(values, np.arange(50)) == pytest.approx(ordinary)
    # repeating each value within its group adds no information
    assert group_standard_error(np.repeat(values, 4), np.repeat(np.arange(50), 4)) == pytest.approx(
        ordinary
    )
    assert group_standard_error(values, np.zeros(50)) == 0


@pytest.mark.parametrize("n_groups", [2, 3, 5, 23])
def test_inner_folds_do_not_split_groups_and_are_never_empty(n_groups: int) -> None:
    groups = np.array([f"g{i % n_groups}" for i in range(120)])
    labels = np.arange(120) // 7 % 3
    folds = inner_folds(labels, groups, seed=0)
    assert set(folds) == set(range(min(5, n_groups)))
    assert all(len(set(folds[groups == group])) == 1 for group in set(groups))
    order = np.random.default_rng(0).permutation(120)
    np.testing.assert_array_equal(inner_folds(labels[order], groups[order], seed=0), folds[order])


def test_inner_folds_are_stratified() -> None:
    labels = np.repeat(np.arange(4), 50)
    folds = inner_folds(labels, np.arange(200) // 2, seed=1)
    for inside in held_out_masks(folds):
        assert set(np.bincount(labels[inside], minlength=4)) <= {8, 10, 12}


def test_cross_fitting_does_not_use_labels_of_the_held_out_fold() -> None:
    from chorale.search.combining.base import MemberPredictions

    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(3), size=(4, 60))
    labels, groups = rng.integers(0, 3, 60), np.arange(60) // 3
    found = cross_fit(soft_vote, MemberPredictions(proba), labels, groups, seed=0)
    assert found is not None
    assert len(found.models) == 5
    for number, out in enumerate(held_out_masks(found.folds)):
        expected = soft_vote.fit(MemberPredictions(proba[:, ~out]), labels[~out], groups[~out], 0)
        np.testing.assert_array_equal(found.models[number].weights, expected.weights)
    assert cross_fit(soft_vote, MemberPredictions(proba), labels, np.zeros(60), seed=0) is None
