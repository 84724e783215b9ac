"""Which ensemble is chosen: by its calibrated log loss on held-out groups."""

import json

import numpy as np
import pytest

from chorale.search.combining.cross_fit import cross_fit
from chorale.search.ensembles import soft_vote
from chorale.search.statistics import selection
from chorale.search.statistics.arrays import Floats
from chorale.search.statistics.group_cuts import cut, held_out
from chorale.search.statistics.selection import Choice, Nested, choose, group_error

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


def chosen(nested: dict[str, Nested]) -> Choice:
    return choose(nested, LABELS, GROUPS, seed=0)


def test_the_kind_with_the_lowest_loss_is_chosen() -> None:
    found = chosen({"soft_vote": nested(140), "greedy": nested(160)})
    assert found.kind == "greedy"
    assert "10.0 points more" in found.reason
    assert found.figures["greedy"]["gain"] == pytest.approx(0.1)
    assert [one["verdict"] for one in found.figures.values()][1] == "chosen"
    json.dumps(found.as_dict(), allow_nan=False)


@pytest.mark.parametrize("more", [-3, 0])
def test_of_equals_soft_vote_is_taken(more: int) -> None:
    found = chosen({"greedy": nested(140 + more), "soft_vote": nested(140)})
    assert found.kind == "soft_vote"
    assert found.figures["greedy"]["gain"] == pytest.approx(more / N)
    assert "greedy" in found.reason


def test_how_sure_a_kind_is_does_not_matter_as_it_will_be_calibrated() -> None:
    assert chosen({"soft_vote": nested(140), "stacking": nested(160, sure=0.99)}).kind == "stacking"


def test_what_is_surest_where_it_is_wrong_is_not_chosen_for_a_few_more_that_are_right() -> None:
    """By accuracy alone it would be, on whatever few tracks make the difference."""
    sure = said(145)
    sure[145:] = said(145, sure=0.999)[145:]
    sure[:145] = said(145, sure=0.55)[:145]
    found = chosen({"soft_vote": nested(140), "greedy": Nested(sure, sure)})
    assert found.figures["greedy"]["gain"] > 0
    assert found.kind == "soft_vote"


@pytest.mark.parametrize("kind", ["stacking", "fusion"])
def test_what_a_kind_knows_by_heart_does_not_count(kind: str) -> None:
    found = chosen({"soft_vote": nested(140), kind: nested(135, 199)})
    assert found.kind == "soft_vote"
    assert found.figures[kind]["gap"] == pytest.approx(64 / N)


@pytest.mark.parametrize("kind", selection.COMPARED_ONLY)
def test_what_is_shown_for_comparison_is_never_chosen(kind: str) -> None:
    found = chosen({"soft_vote": nested(100), kind: nested(200)})
    assert found.kind == "soft_vote"
    assert found.bias == 0


def test_of_two_better_kinds_the_best_is_chosen() -> None:
    three = {"soft_vote": nested(120), "greedy": nested(150), "stacking": nested(170)}
    assert chosen(three).kind == "stacking"


def test_the_choice_flatters_by_as_much_as_is_told() -> None:
    """Kinds that are equally good: the best of them claims more, on average by what is told."""
    rng = np.random.default_rng(0)
    told, true = [], []
    for _ in range(60):
        labels, groups = rng.integers(2, size=120), np.arange(120) // 6
        right = rng.random((6, 120)) < rng.beta(6, 2, (6, 20))[:, groups]  # 0.75, by group
        proba = np.where(right, 0.8, 0.2)[..., None]
        two = np.concatenate([1 - proba, proba], axis=2)
        mine = np.where(labels[:, None] == 1, two, two[..., ::-1])
        kinds = ("soft_vote", "a", "b", "c", "d", "e")
        found = choose(
            {kind: Nested(one, one) for kind, one in zip(kinds, mine, strict=True)},
            labels, groups, seed=0,
        )  # fmt: skip
        told.append(found.bias)
        true.append(found.figures[found.kind]["accuracy"] - 0.75)
    assert np.mean(true) > 0.03
    assert np.mean(told) == pytest.approx(np.mean(true), abs=0.01)


def test_the_choice_of_what_is_far_better_flatters_nobody() -> None:
    assert chosen({"soft_vote": nested(100), "greedy": nested(199)}).bias < 0.005
    one_group = choose(
        {"soft_vote": nested(140), "greedy": nested(150)}, LABELS, np.zeros(N), seed=0
    )
    assert one_group.bias == 0


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
    from chorale.search.combining.base import Said

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
