"""Class prototypes: maps embeddings of different networks to cosine similarities to each class.

Embeddings of two networks have unrelated axes, even those of the fold models of one finalist, so
they must not be stacked. The classes are what they share: in each network's embedding space a track
has a similarity to the mean embedding of each class. These similarities are comparable between
networks; `search.ensembles.fusion` reads them. The prototypes are means over labelled rows that the
network was not trained on; test rows are never used.

Source: nearest class means, after Snell, Swersky and Zemel 2017, "Prototypical Networks for
Few-shot Learning", arXiv:1703.05175.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorale.search.combining.base import MemberPredictions
from chorale.search.statistics.arrays import Floats, Groups, Labels
from chorale.search.statistics.inner_folds import held_out_masks, inner_folds

N_PROTOTYPE_FOLDS = 4
PRIOR_ROWS = 2.0
"""A class's mean is shrunk towards the mean of all rows, as if by this many rows there."""

PrototypeArrays = Mapping[str, NDArray[Any]]


def class_similarities(
    predictions: MemberPredictions, prototypes: PrototypeArrays, *, n_classes: int
) -> Floats:
    """Each track's similarity to each class, by member: (n_members, n_tracks, n_classes).

    The cosine to the class's prototype, in -1 .. 1, averaged over the views; NaN where a member has
    no embeddings, or there are no prototypes for its embedding space.

    Args:
        predictions: for any tracks.
        prototypes: as `fit_prototypes` returned them for the same members.
        n_classes: the number of classes.
    """
    n_members, n_tracks = predictions.proba.shape[:2]
    total = np.zeros((n_members, n_tracks, n_classes))
    seen = np.zeros((n_members, n_tracks))
    for view in predictions.views:
        for member, embeddings in enumerate(view.embeddings):
            if embeddings is None:
                continue
            for space in np.unique(view.space):
                at = f"{member}.{space}"
                if f"{at}.means" in prototypes:
                    rows = view.space == space
                    total[member, rows] += _cosine(embeddings[rows], prototypes, at)
                    seen[member, rows] += 1
    with np.errstate(invalid="ignore"):
        return np.asarray(total / seen[..., None])


def held_out_similarities(
    predictions: MemberPredictions, labels: Labels, groups: Groups, *, n_classes: int, seed: int
) -> Floats:
    """`class_similarities` of labelled rows, each to prototypes that leave out its own group.

    A prototype that included the row itself would leak the row's label. So would one that is
    missing without the row's group: a space without every class gives no similarities.
    """
    found = np.full((predictions.proba.shape[0], len(labels), n_classes), np.nan)
    folds = inner_folds(labels, groups, seed=seed, n_folds=N_PROTOTYPE_FOLDS)
    if folds.max() == 0:
        return found
    for out in held_out_masks(folds):
        prototypes = fit_prototypes(
            predictions.select_tracks(~out), labels[~out], n_classes=n_classes, classes=labels
        )
        found[:, out] = class_similarities(
            predictions.select_tracks(out), prototypes, n_classes=n_classes
        )
    return found


def fit_prototypes(
    predictions: MemberPredictions,
    labels: Labels,
    *,
    n_classes: int,
    classes: Labels | None = None,
) -> dict[str, NDArray[Any]]:
    """The mean embedding of each class in each embedding space, as named arrays.

    For each member and space the `centre` and `scale` (width,) of the rows, and the `means`
    (n_classes, width) of the classes, standardised by these. Spaces are left out in which one of
    the `classes` has no row; by default those of the `labels`.
    """
    prototypes: dict[str, NDArray[Any]] = {}
    needed = np.unique(labels if classes is None else classes)
    for view in predictions.views:
        for member, embeddings in enumerate(view.embeddings):
            if embeddings is None:
                continue
            for space in np.unique(view.space):
                rows = view.space == space
                if not np.isin(needed, labels[rows]).all():
                    continue
                inside = embeddings[rows].astype(np.float64)
                centre, scale = inside.mean(axis=0), inside.std(axis=0)
                scale[scale < 1e-9] = 1.0
                truth = np.eye(n_classes)[labels[rows]]  # (n_rows, n_classes)
                sums = truth.T @ ((inside - centre) / scale)
                at = f"{member}.{space}"
                prototypes[f"{at}.centre"], prototypes[f"{at}.scale"] = centre, scale
                prototypes[f"{at}.means"] = sums / (truth.sum(axis=0)[:, None] + PRIOR_ROWS)
    return prototypes


def _cosine(embeddings: NDArray[Any], prototypes: PrototypeArrays, at: str) -> Floats:
    z = (embeddings - prototypes[f"{at}.centre"]) / prototypes[f"{at}.scale"]
    means = prototypes[f"{at}.means"]
    lengths = np.linalg.norm(z, axis=1)[:, None] * np.linalg.norm(means, axis=1)
    return np.asarray(z @ means.T / np.maximum(lengths, 1e-9))
