"""Embeddings of networks that were trained apart, brought into one space: that of the classes.

The axes of two networks' embeddings have nothing to do with one another, nor have those of the fold
models of one finalist, so they must not be stacked as if they had. What they share is the classes:
in each network's own space a track is more or less like the mean of each class. Those likenesses
mean the same everywhere; `search.ensembles.fusion` reads them. Test rows play no part: only rows
with a known label, which the network was not trained on, make the means.

Source: nearest class means, after Snell, Swersky and Zemel 2017, "Prototypical Networks for
Few-shot Learning", arXiv:1703.05175.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorale.search.combining.base import Said
from chorale.search.statistics.arrays import Floats, Groups, Labels
from chorale.search.statistics.group_cuts import cut, held_out

N_CUTS = 4
PRIOR_ROWS = 2.0
"""A class's mean is drawn to the mean of all as if by so many rows that lie there."""

Arrays = Mapping[str, NDArray[Any]]


def likeness(said: Said, anchors: Arrays, *, n_classes: int) -> Floats:
    """How much each track is like each class, by member: (n_members, n_tracks, n_classes).

    The cosine to the class's mean, in -1 .. 1, averaged over the views; NaN where a member has no
    embeddings, or nothing is known of the space that they lie in.

    Args:
        said: any tracks.
        anchors: as `fit_anchors` gave them for the same members.
        n_classes: how many there are.
    """
    n_members, n_tracks = said.proba.shape[:2]
    total = np.zeros((n_members, n_tracks, n_classes))
    seen = np.zeros((n_members, n_tracks))
    for view in said.views:
        for member, embeddings in enumerate(view.embeddings):
            if embeddings is None:
                continue
            for space in np.unique(view.space):
                at = f"{member}.{space}"
                if f"{at}.means" in anchors:
                    rows = view.space == space
                    total[member, rows] += _cosine(embeddings[rows], anchors, at)
                    seen[member, rows] += 1
    with np.errstate(invalid="ignore"):
        return np.asarray(total / seen[..., None])


def own_likeness(
    said: Said, labels: Labels, groups: Groups, *, n_classes: int, seed: int
) -> Floats:
    """`likeness` of the rows that the means are made of, each by means without its own group.

    With its own row among them, the mean of a row's true class would give its label away.
    """
    found = np.full((said.proba.shape[0], len(labels), n_classes), np.nan)
    cuts = cut(labels, groups, seed=seed, n_cuts=N_CUTS)
    if cuts.max() == 0:
        return found
    for out in held_out(cuts):
        anchors = fit_anchors(said.tracks(~out), labels[~out], n_classes=n_classes)
        found[:, out] = likeness(said.tracks(out), anchors, n_classes=n_classes)
    return found


def fit_anchors(said: Said, labels: Labels, *, n_classes: int) -> dict[str, NDArray[Any]]:
    """Where each class lies in each space: named arrays, plain data.

    For each member and space the `centre` and `scale` (width,) of the rows, and the `means`
    (n_classes, width) of the classes, in these units.
    """
    anchors: dict[str, NDArray[Any]] = {}
    for view in said.views:
        for member, embeddings in enumerate(view.embeddings):
            if embeddings is None:
                continue
            for space in np.unique(view.space):
                rows = view.space == space
                inside = embeddings[rows].astype(np.float64)
                centre, scale = inside.mean(axis=0), inside.std(axis=0)
                scale[scale < 1e-9] = 1.0
                truth = np.eye(n_classes)[labels[rows]]  # (n_rows, n_classes)
                sums = truth.T @ ((inside - centre) / scale)
                at = f"{member}.{space}"
                anchors[f"{at}.centre"], anchors[f"{at}.scale"] = centre, scale
                anchors[f"{at}.means"] = sums / (truth.sum(axis=0)[:, None] + PRIOR_ROWS)
    return anchors


def _cosine(embeddings: NDArray[Any], anchors: Arrays, at: str) -> Floats:
    z = (embeddings - anchors[f"{at}.centre"]) / anchors[f"{at}.scale"]
    means = anchors[f"{at}.means"]
    lengths = np.linalg.norm(z, axis=1)[:, None] * np.linalg.norm(means, axis=1)
    return np.asarray(z @ means.T / np.maximum(lengths, 1e-9))
