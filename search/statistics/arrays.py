"""Array types of statistics and ensembles (probabilities, labels, groups), and their validation."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.errors import UserError

Proba = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]
Groups = NDArray[Any]
Weights = NDArray[np.float64]
Floats = NDArray[np.float64]

SUM_TOLERANCE = 0.01
"""How far from 1 the sum of a row may be: above the error of half precision."""


def check_proba(proba: Proba, *, n_dims: int) -> None:
    """Checks that `proba` are probabilities over classes, which are the last axis.

    Raises:
        UserError: there are not `n_dims` axes, an axis is empty, a value is NaN, infinite or
            negative, or a row does not sum to 1.
    """
    axes = ("members", "tracks", "classes")[-n_dims:]
    if proba.ndim != n_dims or 0 in proba.shape:
        raise UserError(
            f"predictions must have the shape ({', '.join(axes)}), none of them 0, but got "
            f"{proba.shape}; run the sweep again with --resume to make the missing ones"
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
    """`check_proba`, and checks that each track has a label and a group.

    Raises:
        UserError: as `check_proba`; or the number of labels or groups is not that of the tracks, or
            a label is not one of the classes.
    """
    check_proba(proba, n_dims=n_dims)
    n_tracks, n_classes = proba.shape[-2:]
    if labels.shape != (n_tracks,) or groups.shape != (n_tracks,):
        raise UserError(
            f"predictions are for {n_tracks} tracks, but there are {labels.shape} labels and "
            f"{groups.shape} groups; they must be for the same tracks, in the same order"
        )
    if labels.min() < 0 or labels.max() >= n_classes:
        raise UserError(
            f"labels must be 0 to {n_classes - 1}, but they range from {labels.min()} to "
            f"{labels.max()}; the predictions belong to another set of classes"
        )
