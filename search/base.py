"""What a file in `search/ensembles` offers, and the checks that every ensemble makes first.

Ensembles read predictions and never a model; `search.combine` gives them rows of the bank.
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from datasets.errors import UserError

Proba = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]
Groups = NDArray[Any]
Weights = NDArray[np.float64]

SUM_TOLERANCE = 0.01
"""How far from 1 the sum of a row may be: more than half precision costs, less than a mistake."""


class Ensemble(Protocol):
    """One way to combine members: fitted on out-of-fold rows, then used on any rows."""

    def fit(self, proba: Proba, labels: Labels, groups: Groups, seed: int) -> Weights:
        """How much each member counts: (n_members,), not negative, summing to 1.

        Args:
            proba: (n_members, n_tracks, n_classes); what each member said of rows that it was not
                trained on, each row summing to 1. Members come in any order.
            labels: (n_tracks,) class indices.
            groups: (n_tracks,) what must not be on two sides where an ensemble cuts rows again.
            seed: for ensembles that draw.

        Raises:
            UserError: the shapes do not fit, a value is no probability, or there is nothing.
        """
        ...

    def predict(self, weights: Weights, proba: Proba) -> NDArray[np.float64]:
        """The combined probabilities: (n_tracks, n_classes), each row summing to 1.

        Args:
            weights: (n_members,), as `fit` gave them.
            proba: (n_members, n_tracks, n_classes), the members in the order of `fit`.

        Raises:
            UserError: as `fit`.
        """
        ...


def check_proba(proba: Proba, *, n_dims: int) -> None:
    """Refuses what are no probabilities over classes in the last axis.

    Raises:
        UserError: there are other than `n_dims` axes, one is empty, or a value is NaN, infinite or
            negative, or a row does not sum to 1.
    """
    axes = ("members", "tracks", "classes")[-n_dims:]
    if proba.ndim != n_dims or 0 in proba.shape:
        raise UserError(
            f"predictions must have the shape ({', '.join(axes)}), none of them 0, but got "
            f"{proba.shape}; run the sweep again with --resume to make what is missing"
        )
    bad = int(np.sum(~np.isfinite(proba) | (proba < 0)))
    if bad:
        raise UserError(
            f"{bad} of {proba.size} predictions are NaN, infinite or negative; leave out the trial "
            f"that made them"
        )
    off = float(np.abs(proba.sum(axis=-1, dtype=np.float64) - 1).max())
    if off > SUM_TOLERANCE:
        raise UserError(
            f"the predictions for a track must sum to 1, but are off by up to {off:.3g}; "
            f"leave out the trial that made them"
        )


def check_rows(proba: Proba, labels: Labels, groups: Groups, *, n_dims: int) -> None:
    """`check_proba`, and a label and a group for each track.

    Raises:
        UserError: as `check_proba`; or there are more or fewer labels or groups than tracks, or a
            label is none of the classes.
    """
    check_proba(proba, n_dims=n_dims)
    n_tracks, n_classes = proba.shape[-2:]
    if labels.shape != (n_tracks,) or groups.shape != (n_tracks,):
        raise UserError(
            f"predictions are about {n_tracks} tracks, but there are {labels.shape} labels and "
            f"{groups.shape} groups; they must be about the same tracks, in the same order"
        )
    if labels.min() < 0 or labels.max() >= n_classes:
        raise UserError(
            f"labels must be 0 to {n_classes - 1}, but they go from {labels.min()} to "
            f"{labels.max()}; the predictions belong to another set of classes"
        )


def weighted_mean(weights: Weights, proba: Proba) -> NDArray[np.float64]:
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
    mean: NDArray[np.float64] = np.tensordot(weights[used], proba[used].astype(np.float64), axes=1)
    return np.asarray(mean / mean.sum(axis=1, keepdims=True))
