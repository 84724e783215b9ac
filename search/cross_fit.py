"""Cuts rows by group, and lets each cut be predicted by an ensemble that was fitted on the others.

Ensembles choose their own strength so, and `search.selection` which of them to believe.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.seeds import Purpose, generator
from chorale.search.base import Ensemble, Floats, Groups, Labels, Model, Said

N_CUTS = 5


@dataclass(frozen=True)
class CrossFitted:
    """What an ensemble says of rows that it was not fitted on.

    `cuts` (n_tracks,) numbers the cut of each row, `models` holds the ensemble that was fitted on
    all other cuts, and `proba` (n_tracks, n_classes) what that one says.
    """

    cuts: NDArray[np.int64]
    models: tuple[Model, ...]
    proba: Floats


def cut(labels: Labels, groups: Groups, *, seed: int, n_cuts: int = N_CUTS) -> NDArray[np.int64]:
    """Numbers the cut of each row, 0 to at most `n_cuts` - 1: no group is in two, none is empty.

    Large groups are dealt first, each to the cut that lacks its classes most. A single group makes
    a single cut. The order of the rows does not matter.
    """
    _, row_group = np.unique(groups, return_inverse=True)
    n_groups, n_classes = int(row_group.max()) + 1, int(labels.max()) + 1
    flat = np.bincount(row_group * n_classes + labels, minlength=n_groups * n_classes)
    shares = flat.reshape(n_groups, n_classes) / np.maximum(np.bincount(labels), 1)
    shuffled = generator(seed, Purpose.CUTS).permutation(n_groups)
    order = shuffled[np.argsort(-shares[shuffled].sum(axis=1), kind="stable")]
    n_cuts = min(n_cuts, n_groups)
    filled = np.zeros((n_cuts, n_classes))
    of_group = np.zeros(n_groups, dtype=np.int64)
    for i, group in enumerate(order):
        # the first groups open the cuts, so that none stays empty; rounded, so that ties are ties
        there = i if i < n_cuts else int(np.argmin(np.round(filled @ shares[group], 12)))
        of_group[group] = there
        filled[there] += shares[group]
    return of_group[row_group]


def held_out(cuts: NDArray[np.int64]) -> Iterator[NDArray[np.bool_]]:
    """A mask (n_tracks,) for each cut: the rows that are in it."""
    for at in range(int(cuts.max()) + 1):
        yield cuts == at


def cross_fit(
    ensemble: Ensemble, said: Said, labels: Labels, groups: Groups, *, seed: int
) -> CrossFitted | None:
    """Fits `ensemble` once for each cut, on all others; None where all rows are of one group.

    Raises:
        UserError: as `search.base.Ensemble.fit`.
    """
    cuts = cut(labels, groups, seed=seed)
    if cuts.max() == 0:
        return None
    proba = np.zeros(said.proba.shape[1:])
    models = []
    for out in held_out(cuts):
        model = ensemble.fit(said.tracks(~out), labels[~out], groups[~out], seed)
        proba[out] = ensemble.predict(model, said.tracks(out))
        models.append(model)
    return CrossFitted(cuts, tuple(models), proba)
