"""Array types of statistics and ensembles (probabilities, labels, groups), and their validation.

Multi-label predictions are one yes-or-no decision for each label of each track: `decisions` turns
them into rows of two classes, on which everything that is defined for classes works.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.errors import UserError
from chorale.datasets.label_sets import UNKNOWN, is_known

Proba = NDArray[np.floating[Any]]
Labels = NDArray[np.integer[Any]]
"""Class indices (n_tracks,), or, where a function says so, multi-label (n_tracks, n_classes), of
which `datasets.label_sets.UNKNOWN` pairs do not count."""
Groups = NDArray[Any]
Weights = NDArray[np.float64]
Floats = NDArray[np.float64]

SUM_TOLERANCE = 0.01
"""How far from 1 the sum of a row may be: above the error of half precision."""


def check_proba(proba: Proba, *, n_dims: int, multi_label: bool = False) -> None:
    """Checks that `proba` are probabilities over classes, which are the last axis.

    Raises:
        UserError: there are not `n_dims` axes, an axis is empty, a value is NaN, infinite or
            negative, or a row does not sum to 1, or, `multi_label`, a value is above 1.
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
    if multi_label:
        if proba.max() > 1 + SUM_TOLERANCE:
            raise UserError(
                f"the probability of a label must be 0 to 1, but one is {proba.max():.3g}; leave "
                f"out the trial that made it"
            )
        return
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
    multi_label = labels.ndim == 2
    check_proba(proba, n_dims=n_dims, multi_label=multi_label)
    n_tracks, n_classes = proba.shape[-2:]
    wanted = (n_tracks, n_classes) if multi_label else (n_tracks,)
    if labels.shape != wanted or groups.shape != (n_tracks,):
        raise UserError(
            f"predictions are for {n_tracks} tracks, but there are {labels.shape} labels and "
            f"{groups.shape} groups; they must be for the same tracks, in the same order"
        )
    n_values = 2 if multi_label else n_classes
    if labels.min() < (UNKNOWN if multi_label else 0) or labels.max() >= n_values:
        raise UserError(
            f"labels must be 0 to {n_values - 1}, but they range from {labels.min()} to "
            f"{labels.max()}; the predictions belong to another set of classes"
        )


def decisions(proba: Proba) -> Proba:
    """Multi-label probabilities (..., n, n_classes) as rows (..., n * n_classes, 2).

    The second column is the probability of the label.

    The labels of the rows are `labels.ravel()`.
    """
    flat = proba.reshape(*proba.shape[:-2], -1)
    return np.stack([1 - flat, flat], axis=-1)


def known_decisions(proba: Proba, labels: Labels) -> tuple[Proba, NDArray[np.int64]]:
    """The rows of `decisions` whose label is known, of (..., n, n_classes), and their labels."""
    known = is_known(labels).ravel()
    rows, flat = decisions(proba), labels.ravel()
    if not known.all():
        rows, flat = rows[..., known, :], flat[known]
    return rows, flat.astype(np.int64)


def from_decisions(rows: Proba, n_classes: int) -> Floats:
    """The inverse of `decisions`: (n * n_classes, 2) -> (n, n_classes)."""
    return np.asarray(rows[..., 1].reshape(-1, n_classes), np.float64)
