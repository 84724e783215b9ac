"""Group-disjoint inner folds of the out-of-fold rows, for fitting and cross-validating ensembles.

They are not the sweep's folds: networks are trained on those (`datasets.splitting`), ensembles and
temperatures on these.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.seeds import Purpose, random_generator
from chorale.datasets.splitting.group_split import class_count, group_counts
from chorale.search.statistics.arrays import Groups, Labels

N_INNER_FOLDS = 5


def inner_folds(
    labels: Labels, groups: Groups, *, seed: int, n_folds: int = N_INNER_FOLDS
) -> NDArray[np.int64]:
    """Assigns each row to a fold, 0 to at most `n_folds` - 1: no group is in two, none is empty.

    Large groups are assigned first, each to the fold that lacks its classes most (stratification).
    A single group gives a single fold. The order of the rows does not matter. Labels may be
    multi-label, (n, n_classes).
    """
    _, row_group = np.unique(groups, return_inverse=True)
    counts = group_counts(labels, row_group.astype(np.int64), n_classes=class_count(labels))
    n_groups, n_classes = counts.shape
    shares = counts / np.maximum(counts.sum(axis=0), 1)
    shuffled = random_generator(seed, Purpose.CROSS_FIT).permutation(n_groups)
    order = shuffled[np.argsort(-shares[shuffled].sum(axis=1), kind="stable")]
    n_folds = min(n_folds, n_groups)
    filled = np.zeros((n_folds, n_classes))
    of_group = np.zeros(n_groups, dtype=np.int64)
    for i, group in enumerate(order):
        # one group per fold first, so that none stays empty; rounded, so that ties are ties
        fold = i if i < n_folds else int(np.argmin(np.round(filled @ shares[group], 12)))
        of_group[group] = fold
        filled[fold] += shares[group]
    return of_group[row_group]


def held_out_masks(folds: NDArray[np.int64]) -> Iterator[NDArray[np.bool_]]:
    """A mask (n_tracks,) for each fold: the rows that are in it."""
    for fold in range(int(folds.max()) + 1):
        yield folds == fold
