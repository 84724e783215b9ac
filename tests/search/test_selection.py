"""Which ensemble is chosen: soft vote unless another is clearly better on held-out groups."""

import json

import numpy as np
import pytest

from chorale.search import selection
from chorale.search.base import Floats
from chorale.search.cross_fit import cross_fit, cut, held_out
from chorale.search.ensembles import soft_vote
from chorale.search.selection import Nested, choose, group_error

N = 200
LABELS = np.arange(N) % 2
GROUPS = np.arange(N) // 4


def said(n_right: int, *, sure: float = 0.8) -> Floats:
    """Two classes; the first `n_right` rows are right."""
    right = np.arange(N) < n_right
    proba = np.full((N, 2), 1 - sure)
    proba[np.arange(N), np.where(right, LABELS, 1 - LABELS)] = sure
    return proba


def nested(n_right: int, n_fitted: int | None = None, *, sure: float = 0.8) -> Nested:
    return Nested(said(n_right, sure=sure), said(n_fitted or n_right, sure=sure))


def test_a_kind_that_is_clearly_better_is_chosen() -> None:
    found = choose({"soft_vote": nested(140), "greedy": nested(160)}, LABELS, GROUPS)
    assert found.kind == "greedy"
    assert "10.0 points above soft_vote" in found.reason
    json.dumps(found.as_dict(), allow_nan=False)


@pytest.mark.parametrize("more", [-3, 0, 1])
def test_soft_vote_stays_where_the_gain_is_within_a_standard_error(more: int) -> None:
    found = choose({"soft_vote": nested(140), "greedy": nested(140 + more)}, LABELS, GROUPS)
    assert found.kind == "soft_vote"
    assert found.figures["greedy"]["gain"] == pytest.approx(more / N)
    assert "greedy" in found.reason


@pytest.mark.parametrize("kind", selection.LEARNT)
def test_a_learnt_kind_that_knows_its_rows_by_heart_is_not_chosen(kind: str) -> None:
    found = choose({"soft_vote": nested(140), kind: nested(160, 199)}, LABELS, GROUPS)
    assert found.kind == "soft_vote"
    assert found.figures[kind]["verdict"].startswith("overfits")
    assert choose({"soft_vote": nested(140), kind: nested(160, 165)}, LABELS, GROUPS).kind == kind


def test_a_learnt_kind_that_is_sure_and_wrong_is_not_chosen() -> None:
    both = {"soft_vote": nested(140), "stacking": nested(160, sure=0.9999)}
    found = choose(both, LABELS, GROUPS)
    assert found.kind == "soft_vote"
    assert "log loss" in found.figures["stacking"]["verdict"]


@pytest.mark.parametrize("kind", selection.COMPARED_ONLY)
def test_what_is_shown_for_comparison_is_never_chosen(kind: str) -> None:
    found = choose({"soft_vote": nested(100), kind: nested(200)}, LABELS, GROUPS)
    assert found.kind == "soft_vote"


def test_of_two_better_kinds_the_best_is_chosen() -> None:
    three = {"soft_vote": nested(120), "greedy": nested(150), "stacking": nested(170)}
    assert choose(three, LABELS, GROUPS).kind == "stacking"


def test_the_error_of_groups_of_one_is_the_ordinary_one() -> None:
    values = np.random.default_rng(0).normal(size=50)
    ordinary = values.std(ddof=1) / np.sqrt(50)
    assert group_error(values, np.arange(50)) == pytest.approx(ordinary)
    # the same value again and again says nothing new
    assert group_error(np.repeat(values, 4), np.repeat(np.arange(50), 4)) == pytest.approx(ordinary)
    assert group_error(values, np.zeros(50)) == 0


@pytest.mark.parametrize("n_groups", [2, 3, 5, 23])
def test_a_cut_keeps_groups_whole_and_is_never_empty(n_groups: int) -> None:
    groups = np.array([f"g{i % n_groups}" for i in range(120)])
    labels = np.arange(120) // 7 % 3
    cuts = cut(labels, groups, seed=0)
    assert set(cuts) == set(range(min(5, n_groups)))
    assert all(len(set(cuts[groups == group])) == 1 for group in set(groups))
    order = np.random.default_rng(0).permutation(120)
    np.testing.assert_array_equal(cut(labels[order], groups[order], seed=0), cuts[order])


def test_cuts_have_about_the_same_classes() -> None:
    labels = np.repeat(np.arange(4), 50)
    cuts = cut(labels, np.arange(200) // 2, seed=1)
    for inside in held_out(cuts):
        assert set(np.bincount(labels[inside], minlength=4)) <= {8, 10, 12}


def test_a_held_out_label_has_no_part_in_what_is_said_of_its_group() -> None:
    from chorale.search.base import Said

    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(3), size=(4, 60))
    labels, groups = rng.integers(0, 3, 60), np.arange(60) // 3
    found = cross_fit(soft_vote, Said(proba), labels, groups, seed=0)
    assert found is not None
    assert len(found.models) == 5
    for number, out in enumerate(held_out(found.cuts)):
        expected = soft_vote.fit(Said(proba[:, ~out]), labels[~out], groups[~out], 0)
        np.testing.assert_array_equal(found.models[number].weights, expected.weights)
    assert cross_fit(soft_vote, Said(proba), labels, np.zeros(60), seed=0) is None
