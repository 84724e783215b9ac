"""Which labels are predicted in whose place, where tracks have several: co-occurrence of errors.

Counts of the confusion matrix's shape, for predictions of sets of labels. No row sums to the tracks
of its label, as a track counts in the row of each of its labels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.label_sets import is_known, is_present
from chorale.search.statistics.arrays import Labels


@dataclass(frozen=True)
class LabelConfusion:
    """`counts[i, j]` of `totals[i, j]` tracks, (n_classes, n_classes) each.

    On the diagonal: the tracks with label i, and in how many it is predicted. Beside it: the tracks
    with label i and without label j, and in how many j is predicted. Unknown labels do not count.
    """

    counts: NDArray[np.int64]
    totals: NDArray[np.int64]


def label_confusion(predicted: NDArray[np.bool_], labels: Labels) -> LabelConfusion:
    """Counts the tracks of `labels` and `predicted`, (n, n_classes) each."""
    present = is_present(labels).astype(np.int64)
    absent = is_known(labels) - present
    counts, totals = present.T @ (absent * predicted), present.T @ absent
    np.fill_diagonal(counts, (present * predicted).sum(axis=0))
    np.fill_diagonal(totals, present.sum(axis=0))
    return LabelConfusion(counts, totals)
