"""What fusion reads in embeddings, and that it reads no label that it should not know."""

import numpy as np
import pytest

from chorale.lightning_models.metrics import accuracy, log_loss
from chorale.search.combining.base import Said, View
from chorale.search.combining.cross_fit import cross_fit
from chorale.search.combining.prototypes import fit_anchors, likeness, own_likeness
from chorale.search.ensembles import fusion
from chorale.search.statistics.arrays import Labels
from chorale.search.statistics.group_cuts import cut


def hidden_class(*, skill: float, n: int = 240, seed: int = 0) -> tuple[Said, Labels, np.ndarray]:
    """Members that know nothing, and embeddings that know `skill` of the class; groups of 3."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n // 3).repeat(3)
    groups, space = np.arange(n) // 3, np.arange(n) // 3 % 3
    proba = rng.dirichlet(np.full(3, 5.0), size=(2, n))
    views = []
    for _ in range(2):
        axes = rng.normal(size=(3, 3, 40))  # of each space its own
        own = rng.normal(size=(n // 3, 40)).repeat(3, axis=0)  # what a group's tracks share
        seen = skill * axes[space, labels] + own + 0.3 * rng.normal(size=(n, 40))
        views.append(seen.astype(np.float32))
    return Said(proba, (), (View(space, tuple(views)),)), labels, groups


def test_fusion_finds_in_embeddings_what_the_members_do_not_say() -> None:
    said, labels, groups = hidden_class(skill=1.0)
    found = cross_fit(fusion, said, labels, groups, seed=0)
    blind = cross_fit(fusion, Said(said.proba), labels, groups, seed=0)
    assert found is not None
    assert blind is not None
    assert accuracy(found.proba, labels) > 0.8
    assert accuracy(blind.proba, labels) < 0.5


@pytest.mark.parametrize("seed", range(3))
def test_fusion_learns_nothing_where_there_is_nothing_to_learn(seed: int) -> None:
    """A group's tracks are alike in their embeddings: a leak would give one another away."""
    said, labels, groups = hidden_class(skill=0.0, seed=seed)
    found = cross_fit(fusion, said, labels, groups, seed=0)
    assert found is not None
    assert accuracy(found.proba, labels) < 0.45
    assert log_loss(found.proba, labels) < np.log(3) + 0.1


def test_a_groups_labels_have_no_part_in_its_own_likeness() -> None:
    said, labels, groups = hidden_class(skill=0.5)
    before = own_likeness(said, labels, groups, n_classes=3, seed=0)
    rows = groups == 7
    cuts = cut(labels, groups, seed=0, n_cuts=4)
    out = cuts == cuts[rows][0]
    anchors = fit_anchors(said.tracks(~out), labels[~out], n_classes=3)
    expected = likeness(said.tracks(rows), anchors, n_classes=3)
    np.testing.assert_allclose(before[:, rows], expected, atol=1e-12)


def test_turning_the_axes_of_one_space_changes_nothing() -> None:
    """Only likenesses inside a space are read, so nothing is mixed between spaces."""
    said, labels, groups = hidden_class(skill=0.7)
    (view,) = said.views
    order = np.random.default_rng(1).permutation(40)
    turned = [e.copy() for e in view.embeddings if e is not None]
    for one in turned:
        one[view.space == 1] = one[view.space == 1][:, order] * 5 + 2
    again = Said(said.proba, (), (View(view.space, tuple(turned)),))
    straight, other = (fusion.fit(s, labels, groups, 0) for s in (said, again))
    np.testing.assert_allclose(
        fusion.predict(other, again), fusion.predict(straight, said), atol=1e-4
    )
