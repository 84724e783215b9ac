"""Cuts rows by group, so that each cut can be predicted by what was fitted on the others."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.seeds import Purpose, generator
from chorale.search.statistics.arrays import Groups, Labels

N_CUTS = 5


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
