"""The ensemble protocol: what each file in `search/ensembles` offers, and its inputs and result.

Ensembles read predictions and never a network; `search.evaluation.members` gives them rows of the
prediction bank.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.errors import UserError
from chorale.search.statistics.arrays import Floats, Groups, Labels, Proba, Weights, check_proba

MemberName = int | str
"""A finalist's trial number, or a baseline's name."""

LOG_PROBA_FLOOR = 1e-4
"""Probabilities are clipped to this before logarithms are taken: one member's confident mistake
must not outvote all others."""

TRUE_PROBA_FLOOR = 1e-6
"""The least probability of the true class that a log loss of fitted weights counts."""


@dataclass(frozen=True)
class EmbeddingView:
    """The embeddings of some tracks by one network of each member.

    `space` (n_tracks,) numbers the network that embedded a track: embeddings of two networks that
    were trained separately, even of one configuration on two folds, have unrelated axes.
    `embeddings` holds, for each member, (n_tracks, width of that member), or None where it has no
    such network: members may have different numbers of seeds.
    """

    space: Labels
    embeddings: tuple[NDArray[np.floating[Any]] | None, ...]


@dataclass(frozen=True)
class MemberPredictions:
    """Several members' predictions for the same tracks.

    `proba` is (n_members, n_tracks, n_classes), each row summing to 1. `kinds` names each member's
    architecture, or is empty where it is not known. `views` holds embeddings, or is empty: for
    development tracks one view per seed, each track embedded by the network that held it out; for
    test tracks one view per network.
    """

    proba: Proba
    kinds: tuple[str, ...] = ()
    views: tuple[EmbeddingView, ...] = ()

    def select_tracks(self, rows: NDArray[Any]) -> "MemberPredictions":
        """The predictions for the tracks in `rows`: positions, or a mask."""
        views = tuple(
            EmbeddingView(
                view.space[rows], tuple(None if e is None else e[rows] for e in view.embeddings)
            )
            for view in self.views
        )
        return replace(self, proba=self.proba[:, rows], views=views)

    def select_members(self, order: NDArray[Any]) -> "MemberPredictions":
        """The predictions of the members at the positions `order`, in that order."""
        views = tuple(
            EmbeddingView(view.space, tuple(view.embeddings[m] for m in order))
            for view in self.views
        )
        kinds = tuple(self.kinds[m] for m in order) if self.kinds else ()
        return MemberPredictions(self.proba[order], kinds, views)


@dataclass(frozen=True)
class EnsembleModel:
    """A fitted ensemble as plain data: stored as JSON and safetensors, without pickle.

    `weights` (n_members,) is the weight of each member: not negative, summing to 1. Where an
    ensemble is not a weighted mean, they only inform a reader, and `arrays` hold its parameters.
    `facts` are JSON-ready: what was chosen, and how.
    """

    weights: Weights
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


class Ensemble(Protocol):
    """One way to combine members: fitted on out-of-fold rows, then used on any rows.

    An ensemble that can be exported also offers `network(model)`, a PyTorch module from the
    members' probabilities (n_members, n_classes) to the combined ones (n_classes,).
    """

    def fit(
        self, predictions: MemberPredictions, labels: Labels, groups: Groups, seed: int
    ) -> EnsembleModel:
        """Fits the ensemble on out-of-fold rows, on which no member was trained.

        Neither the order of the tracks nor that of the members changes the model's predictions.

        Args:
            predictions: each member's out-of-fold predictions.
            labels: (n_tracks,) class indices.
            groups: (n_tracks,) artists, speakers: never on both sides of an inner fold.
            seed: of ensembles that draw random numbers.

        Raises:
            UserError: shapes do not match, a value is not a probability, or there are no rows.
        """
        ...

    def predict(self, model: EnsembleModel, predictions: MemberPredictions) -> Floats:
        """The combined probabilities: (n_tracks, n_classes), each row summing to 1.

        Args:
            model: as `fit` gave it.
            predictions: for any tracks, the members in the order of `fit`.

        Raises:
            UserError: as `fit`.
        """
        ...


def best_members(proba: Proba, labels: Labels, n: int) -> NDArray[np.int64]:
    """The positions of the `n` members with the lowest log loss, best first.

    The sums are exact (`math.fsum`), so the order of the tracks cannot change that of the members.
    """
    true = proba[:, np.arange(len(labels)), labels].astype(np.float64)
    logs = np.log(np.maximum(true, LOG_PROBA_FLOOR))
    confidence = proba.max(axis=2).astype(np.float64)
    keys = [(-math.fsum(a), math.fsum(b)) for a, b in zip(logs, confidence, strict=True)]
    return np.array(sorted(range(len(proba)), key=keys.__getitem__)[:n], dtype=np.int64)


def log_proba(proba: Proba) -> Floats:
    """Logarithms of probabilities clipped at `LOG_PROBA_FLOOR`; the same shape."""
    return np.asarray(np.log(np.maximum(proba, LOG_PROBA_FLOOR, dtype=np.float64)))


def weighted_mean(weights: Weights, proba: Proba) -> Floats:
    """The weighted mean of the members' probabilities: (n_tracks, n_classes), rows sum to 1.

    Members of weight 0 are not read, so they cost nothing.

    Raises:
        UserError: `proba` (n_members, n_tracks, n_classes) are not probabilities, or `weights`
            are not one for each member, or do not have a positive sum.
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


def members_mismatch(n_fitted: int, predictions: MemberPredictions) -> UserError:
    """The error where an ensemble of `n_fitted` members is given other members' predictions."""
    return UserError(
        f"an ensemble of {n_fitted} members got predictions of {predictions.proba.shape[0]} "
        f"members and {predictions.proba.shape[2]} classes; fit it again"
    )
