from functools import partial

import numpy as np
import pytest

from chorale.lightning_models.metrics import Labels, Proba
from chorale.search.foretell import averaging, foretell

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
    assert averaging(members, partial(scored, labels=labels), seed=0) == pytest.approx(
        0.0, abs=1e-12
    )


@pytest.mark.parametrize("own", [0.3, 0.6])
def test_what_many_reach_is_foretold_from_a_few(own: float) -> None:
    every, labels = said(40, common=0.6, own=own)
    one = np.mean([right([member], labels) for member in every])
    share = averaging(every[:4], partial(scored, labels=labels), seed=0)
    assert one + share * (1 - one) == pytest.approx(right(every, labels), abs=0.02)


@pytest.mark.parametrize("own", [1.0, 2.0])
def test_of_members_that_differ_wildly_less_is_foretold_than_comes(own: float) -> None:
    every, labels = said(40, common=0.6, own=own)
    one = np.mean([right([member], labels) for member in every])
    foretold = one + (1 - one) * averaging(every[:4], partial(scored, labels=labels), seed=0)
    assert right(every[:4], labels) < foretold < right(every, labels)


def test_a_hundred_members_are_looked_at_by_a_few_of_their_subsets() -> None:
    every, labels = said(100, common=0.6, own=0.6)
    seen = []

    def score(proba: Proba) -> float:
        seen.append(len(proba))
        return scored(proba, labels)

    one = np.mean([right([member], labels) for member in every])
    share = averaging(every, score, seed=0)
    assert one + share * (1 - one) == pytest.approx(right(every, labels), abs=0.02)
    assert len(seen) <= 12 * 40


def test_one_member_foretells_no_gain() -> None:
    members, labels = said(1, common=0.5, own=0.5)
    told = foretell(0.7, members, labels, n_folds=5, seed=0)
    assert (told.gain, told.accuracy) == (0.0, 0.7)


def test_more_folds_gain_more_and_nothing_passes_one() -> None:
    members, labels = said(4, common=0.3, own=1.0)
    three, ten = (foretell(0.6, members, labels, n_folds=n, seed=0) for n in (3, 10))
    assert 0 < three.gain < ten.gain
    assert 0.999 < foretell(0.999, members, labels, n_folds=10, seed=0).accuracy < 1
    assert foretell(1.0, members, labels, n_folds=10, seed=0).accuracy == 1
    assert ten.as_dict().keys() == {"accuracy", "out_of_fold", "gain", "n_folds"}


def test_neither_the_order_of_members_nor_that_of_tracks_matters() -> None:
    members, labels = said(4, common=0.5, own=0.5)
    order = np.random.default_rng(1).permutation(N)
    turned = [member[order] for member in members[::-1]]
    there = averaging(turned, partial(scored, labels=labels[order]), seed=0)
    assert there == pytest.approx(averaging(members, partial(scored, labels=labels), seed=0))
