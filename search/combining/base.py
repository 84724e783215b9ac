"""What a file in `search/ensembles` offers, and the checks that every ensemble makes first.

Ensembles read predictions and never a network; `search.evaluation.members` gives them rows of the
bank.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.errors import UserError
from chorale.search.statistics.arrays import Floats, Groups, Labels, Proba, Weights, check_proba

Name = int | str
"""What a member is called: a finalist by its trial's number, a baseline by its name."""


SMALLEST_PROBA = 1e-4
"""What logarithms are taken of at least: one member's sure mistake must not outvote all others."""


@dataclass(frozen=True)
class View:
    """What one network of each member saw in some tracks.

    `space` (n_tracks,) says in whose space a track's embeddings lie: two networks that were trained
    apart, and be it on two folds, have embeddings whose axes have nothing to do with one another.
    `embeddings` holds, for each member, (n_tracks, width of that member) or None.
    """

    space: Labels
    embeddings: tuple[NDArray[np.floating[Any]] | None, ...]


@dataclass(frozen=True)
class Said:
    """What several members said of the same tracks.

    `proba` is (n_members, n_tracks, n_classes), each row summing to 1. `kinds` names each member's
    architecture, or is empty where nobody knows. `views` holds embeddings, or is empty: of
    development tracks one view a seed, each track in the space of the network that did not train
    on it; of test tracks one view a network.
    """

    proba: Proba
    kinds: tuple[str, ...] = ()
    views: tuple[View, ...] = ()

    def tracks(self, rows: NDArray[Any]) -> "Said":
        """What was said of the tracks in `rows`: positions, or a mask."""
        views = tuple(
            View(view.space[rows], tuple(None if e is None else e[rows] for e in view.embeddings))
            for view in self.views
        )
        return replace(self, proba=self.proba[:, rows], views=views)

    def members(self, order: NDArray[Any]) -> "Said":
        """What the members at the positions `order` said, in that order."""
        views = tuple(
            View(view.space, tuple(view.embeddings[m] for m in order)) for view in self.views
        )
        kinds = tuple(self.kinds[m] for m in order) if self.kinds else ()
        return Said(self.proba[order], kinds, views)


@dataclass(frozen=True)
class Model:
    """A fitted ensemble as plain data: it can be kept as JSON and safetensors, without pickle.

    `weights` (n_members,) say how much each member counts: not negative, summing to 1. Where an
    ensemble is no weighted mean they are an account for people, and `arrays` hold what it needs.
    `facts` are JSON-ready: what was chosen, and how.
    """

    weights: Weights
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


class Ensemble(Protocol):
    """One way to combine members: fitted on out-of-fold rows, then used on any rows."""

    def fit(self, said: Said, labels: Labels, groups: Groups, seed: int) -> Model:
        """What is learnt from rows that no member was trained on.

        Neither the order of the tracks nor that of the members changes what the model says.

        Args:
            said: what each member said of them.
            labels: (n_tracks,) class indices.
            groups: (n_tracks,) what must not be on two sides where an ensemble cuts rows again.
            seed: for ensembles that draw.

        Raises:
            UserError: the shapes do not fit, a value is no probability, or there is nothing.
        """
        ...

    def predict(self, model: Model, said: Said) -> Floats:
        """The combined probabilities: (n_tracks, n_classes), each row summing to 1.

        Args:
            model: as `fit` gave it.
            said: of any tracks, the members in the order of `fit`.

        Raises:
            UserError: as `fit`.
        """
        ...


def best_members(proba: Proba, labels: Labels, n: int) -> NDArray[np.int64]:
    """The positions of the `n` members with the lowest log loss, best first.

    The sums are exact, so the order of the tracks cannot change the order of the members.
    """
    true = proba[:, np.arange(len(labels)), labels].astype(np.float64)
    logs = np.log(np.maximum(true, SMALLEST_PROBA))
    sure = proba.max(axis=2).astype(np.float64)
    keys = [(-math.fsum(one), math.fsum(other)) for one, other in zip(logs, sure, strict=True)]
    return np.array(sorted(range(len(proba)), key=keys.__getitem__)[:n], dtype=np.int64)


def log_proba(proba: Proba) -> Floats:
    """Logarithms of probabilities, see `SMALLEST_PROBA`; the same shape."""
    return np.asarray(np.log(np.maximum(proba, SMALLEST_PROBA, dtype=np.float64)))


def weighted_mean(weights: Weights, proba: Proba) -> Floats:
    """The members' mean by `weights`: (n_tracks, n_classes), each row summing to 1.

    Members without weight are not read, so they cost nothing.

    Raises:
        UserError: `proba` is (n_members, n_tracks, n_classes) of something else than
            probabilities, or `weights` are not one for each member, or sum to nothing.
    """
    check_proba(proba, n_dims=3)
    if weights.shape != proba.shape[:1] or not weights.sum() > 0 or (weights < 0).any():
        raise UserError(
            f"an ensemble of {proba.shape[0]} members needs as many weights, none negative, with "
            f"a sum above 0, but got {weights.tolist()}; fit it again"
        )
    used = np.flatnonzero(weights)
    mean: Floats = np.tensordot(weights[used], proba[used].astype(np.float64), axes=1)
    return np.asarray(mean / mean.sum(axis=1, keepdims=True))


def other_members(n_fitted: int, said: Said) -> UserError:
    """What to raise where an ensemble of `n_fitted` members is asked about others."""
    return UserError(
        f"an ensemble of {n_fitted} members was asked about {said.proba.shape[0]} members and "
        f"{said.proba.shape[2]} classes; fit it again"
    )
