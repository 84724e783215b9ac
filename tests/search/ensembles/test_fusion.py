"""The fusion ensemble: it uses information in embeddings, without leaking labels of a group."""

import numpy as np
import pytest

from chorale.lightning_models.metrics import accuracy, log_loss
from chorale.search.combining.base import EmbeddingView, MemberPredictions
from chorale.search.combining.cross_fit import cross_fit
from chorale.search.combining.prototypes import (
    class_similarities,
    fit_prototypes,
    held_out_similarities,
)
from chorale.search.ensembles import fusion
from chorale.search.statistics.arrays import Labels
from chorale.search.statistics.inner_folds import inner_folds


def hidden_class(
    *, skill: float, n: int = 240, seed: int = 0
) -> tuple[MemberPredictions, Labels, np.ndarray]:
    """Members at chance level, with embeddings that hold the class by `skill`; groups of 3."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n // 3).repeat(3)
    groups, space = np.arange(n) // 3, np.arange(n) // 3 % 3
    proba = rng.dirichlet(np.full(3, 5.0), size=(2, n))
    views = []
    for _ in range(2):
        axes = rng.normal(size=(3, 3, 40))  # different in each space
        own = rng.normal(size=(n // 3, 40)).repeat(3, axis=0)  # shared by a group's tracks
        embedded = skill * axes[space, labels] + own + 0.3 * rng.normal(size=(n, 40))
        views.append(embedded.astype(np.float32))
    return MemberPredictions(proba, (), (EmbeddingView(space, tuple(views)),)), labels, groups


def test_fusion_uses_classes_that_only_embeddings_show() -> None:
    predictions, labels, groups = hidden_class(skill=1.0)
    found = cross_fit(fusion, predictions, labels, groups, seed=0)
    blind = cross_fit(fusion, MemberPredictions(predictions.proba), labels, groups, seed=0)
    assert found is not None
    assert blind is not None
    assert accuracy(found.proba, labels) > 0.8
    assert accuracy(blind.proba, labels) < 0.5


@pytest.mark.parametrize("seed", range(3))
def test_fusion_learns_nothing_from_uninformative_embeddings(seed: int) -> None:
    """A group's tracks have similar embeddings: a leak within a group would show as accuracy."""
    predictions, labels, groups = hidden_class(skill=0.0, seed=seed)
    found = cross_fit(fusion, predictions, labels, groups, seed=0)
    assert found is not None
    assert accuracy(found.proba, labels) < 0.45
    assert log_loss(found.proba, labels) < np.log(3) + 0.1


def test_held_out_similarities_do_not_use_a_groups_own_labels() -> None:
    predictions, labels, groups = hidden_class(skill=0.5)
    before = held_out_similarities(predictions, labels, groups, n_classes=3, seed=0)
    rows = groups == 7
    folds = inner_folds(labels, groups, seed=0, n_folds=4)
    out = folds == folds[rows][0]
    prototypes = fit_prototypes(predictions.select_tracks(~out), labels[~out], n_classes=3)
    expected = class_similarities(predictions.select_tracks(rows), prototypes, n_classes=3)
    np.testing.assert_allclose(before[:, rows], expected, atol=1e-12)


def test_permuting_and_scaling_the_axes_of_one_space_changes_nothing() -> None:
    """Only similarities within an embedding space are used."""
    predictions, labels, groups = hidden_class(skill=0.7)
    (view,) = predictions.views
    order = np.random.default_rng(1).permutation(40)
    turned = [e.copy() for e in view.embeddings if e is not None]
    for one in turned:
        one[view.space == 1] = one[view.space == 1][:, order] * 5 + 2
    again = MemberPredictions(predictions.proba, (), (EmbeddingView(view.space, tuple(turned)),))
    straight, other = (fusion.fit(s, labels, groups, 0) for s in (predictions, again))
    np.testing.assert_allclose(
        fusion.predict(other, again), fusion.predict(straight, predictions), atol=1e-4
    )
