"""What every ensemble in `search/ensembles` must do; a new file there is tested by itself."""

from types import ModuleType

import numpy as np
import pytest

from datasets import plugins
from datasets.errors import UserError
from lightning_models.metrics import accuracy, log_loss
from search import ensembles
from search.base import Labels, Proba
from search.ensembles import best_single, soft_vote

N_TRACKS, N_CLASSES = 60, 4
GROUPS = np.array([f"g{i % 9}" for i in range(N_TRACKS)])


@pytest.fixture(params=plugins.names(ensembles))
def ensemble(request: pytest.FixtureRequest) -> ModuleType:
    return plugins.load(ensembles, request.param, kind="ensemble")


def draw(seed: int = 0, n_members: int = 5, skill: float = 1.0) -> tuple[Proba, Labels]:
    """Members that are right somewhat more often than chance, each in its own way."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, N_CLASSES, N_TRACKS)
    logits = rng.normal(size=(n_members, N_TRACKS, N_CLASSES))
    logits += skill * np.eye(N_CLASSES)[labels] * rng.uniform(0.5, 1.5, (n_members, 1, 1))
    proba = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    return proba.astype(np.float32), labels


@pytest.mark.parametrize("n_members", [1, 2, 7])
def test_weights_are_shares(ensemble: ModuleType, n_members: int) -> None:
    proba, labels = draw(n_members=n_members)
    weights = ensemble.fit(proba, labels, GROUPS, 0)
    assert weights.shape == (n_members,)
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1)


def test_predictions_are_probabilities(ensemble: ModuleType) -> None:
    proba, labels = draw()
    found = ensemble.predict(ensemble.fit(proba, labels, GROUPS, 0), proba)
    assert found.shape == (N_TRACKS, N_CLASSES)
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_tracks_does_not_matter(ensemble: ModuleType, seed: int) -> None:
    proba, labels = draw(seed)
    order = np.random.default_rng(seed).permutation(N_TRACKS)
    weights = ensemble.fit(proba, labels, GROUPS, 0)
    again = ensemble.fit(proba[:, order], labels[order], GROUPS[order], 0)
    np.testing.assert_allclose(again, weights, atol=1e-6)
    np.testing.assert_allclose(
        ensemble.predict(weights, proba[:, order]), ensemble.predict(weights, proba)[order]
    )


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_members_does_not_matter(ensemble: ModuleType, seed: int) -> None:
    proba, labels = draw(seed)
    order = np.random.default_rng(seed).permutation(len(proba))
    weights = ensemble.fit(proba, labels, GROUPS, 0)
    np.testing.assert_allclose(
        ensemble.fit(proba[order], labels, GROUPS, 0), weights[order], atol=1e-6
    )
    np.testing.assert_allclose(
        ensemble.predict(weights[order], proba[order]), ensemble.predict(weights, proba)
    )


def test_a_perfect_member_makes_a_perfect_ensemble(ensemble: ModuleType) -> None:
    proba, labels = draw(skill=0.5)
    proba[3] = np.eye(N_CLASSES)[labels]
    weights = ensemble.fit(proba, labels, GROUPS, 0)
    assert weights.argmax() == 3
    assert accuracy(ensemble.predict(weights, proba), labels) == 1


def test_the_same_rows_give_the_same_weights(ensemble: ModuleType) -> None:
    proba, labels = draw()
    before = proba.copy()
    one, other = (ensemble.fit(proba, labels, GROUPS, 0) for _ in range(2))
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(proba, before)


def _broken(kind: str) -> tuple[Proba, Labels, np.ndarray]:
    proba, labels = draw()
    groups = GROUPS
    if kind == "nan":
        proba[1, 2, 3] = np.nan
    elif kind == "infinite":
        proba[1, 2, 3] = np.inf
    elif kind == "logits":
        proba = np.log(proba)
    elif kind == "unnormalised":
        proba = proba * 3
    elif kind == "no members":
        proba = proba[:0]
    elif kind == "no tracks":
        proba, labels, groups = proba[:, :0], labels[:0], groups[:0]
    elif kind == "one member's rows alone":
        proba = proba[0]
    elif kind == "labels of other tracks":
        labels = labels[:-1]
    elif kind == "groups of other tracks":
        groups = groups[:-1]
    elif kind == "a class that nobody knows":
        labels = labels + 1
    return proba, labels, groups


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("nan", "1 of 1200 predictions are NaN"),
        ("infinite", "1 of 1200 predictions are NaN, infinite"),
        ("logits", "negative"),
        ("unnormalised", "must sum to 1, but are off by up to 2"),
        ("no members", r"but got \(0, 60, 4\)"),
        ("no tracks", r"but got \(5, 0, 4\)"),
        ("one member's rows alone", r"\(members, tracks, classes\).*but got \(60, 4\)"),
        ("labels of other tracks", r"about 60 tracks, but there are \(59,\) labels"),
        ("groups of other tracks", r"\(59,\) groups"),
        ("a class that nobody knows", "labels must be 0 to 3, but they go from 1 to 4"),
    ],
)
def test_what_cannot_be_combined_is_refused(ensemble: ModuleType, kind: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        ensemble.fit(*_broken(kind), 0)


@pytest.mark.parametrize("kind", ["nan", "no members", "no tracks", "one member's rows alone"])
def test_predicting_from_what_is_broken_is_refused(ensemble: ModuleType, kind: str) -> None:
    proba, labels = draw()
    weights = ensemble.fit(proba, labels, GROUPS, 0)
    with pytest.raises(UserError):
        ensemble.predict(weights, _broken(kind)[0])


def test_weights_of_other_members_are_refused(ensemble: ModuleType) -> None:
    proba, labels = draw()
    weights = ensemble.fit(proba, labels, GROUPS, 0)
    with pytest.raises(UserError, match="an ensemble of 4 members needs as many weights"):
        ensemble.predict(weights, proba[:4])


def test_best_single_breaks_ties_of_accuracy_by_log_loss() -> None:
    labels = np.array([0, 1])
    timid = np.array([[0.6, 0.4], [0.4, 0.6]])
    sure = np.array([[0.9, 0.1], [0.1, 0.9]])
    wrong = np.array([[0.01, 0.99], [0.01, 0.99]])
    weights = best_single.fit(np.stack([wrong, timid, sure]), labels, np.array(["a", "b"]), 0)
    assert weights.tolist() == [0, 0, 1]


def test_soft_vote_leaves_out_what_makes_it_worse() -> None:
    proba, labels = draw(n_members=6, skill=2.0)
    proba[2] = np.roll(np.eye(N_CLASSES)[labels], 1, axis=1)
    weights = soft_vote.fit(proba, labels, GROUPS, 0)
    assert weights[2] == 0
    assert np.unique(weights[weights > 0]).size == 1


def test_soft_vote_takes_the_top_k_with_the_best_mean() -> None:
    proba, labels = draw(n_members=6)
    weights = soft_vote.fit(proba, labels, GROUPS, 0)
    ranked = sorted(
        range(6), key=lambda m: (-accuracy(proba[m], labels), log_loss(proba[m], labels))
    )
    means = [proba[ranked[:k]].mean(axis=0) for k in range(1, 7)]
    best = max(accuracy(mean, labels) for mean in means)
    assert accuracy(soft_vote.predict(weights, proba), labels) == best
    k = int((weights > 0).sum())
    assert set(np.flatnonzero(weights)) == set(ranked[:k])


def test_soft_vote_takes_more_members_where_it_makes_no_difference() -> None:
    proba, labels = draw(n_members=1)
    same = np.repeat(proba, 3, axis=0)
    assert soft_vote.fit(same, labels, GROUPS, 0).tolist() == pytest.approx([1 / 3] * 3)


def test_soft_vote_beats_its_members_where_they_err_apart() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, N_CLASSES, 600)
    proba = np.full((7, 600, N_CLASSES), 0.1)
    for member in proba:
        said = np.where(rng.random(600) < 0.6, labels, rng.integers(0, N_CLASSES, 600))
        member[np.arange(600), said] = 0.7
    weights = soft_vote.fit(proba, labels, np.arange(600), 0)
    best = max(accuracy(member, labels) for member in proba)
    assert accuracy(soft_vote.predict(weights, proba), labels) > best + 0.1
