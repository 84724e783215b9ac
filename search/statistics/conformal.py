"""Sets of classes that hold the true one as often as the user asks for.

Where a track is easy the set is one class, where it is hard it is several: what an application
should show instead of a guess. The threshold comes from out-of-fold rows, never from the test set.

The coverage is an average: over studies like this one, sets of the true class come to what was
wanted, and rather above, as the mean over folds judges a test track. In one study it may be some
points below or above, as its groups happen to be. Rows that were judged by different networks are
no single calibration set, so what is proven is only that of cross-conformal predictors:
1 - 2 * (1 - coverage).

Source: Vovk, Gammerman and Shafer 2005, "Algorithmic Learning in a Random World",
doi:10.1007/b106715; sets of smallest size after Sadinle, Lei and Wasserman 2019, "Least Ambiguous
Set-Valued Classifiers with Bounded Error Levels", doi:10.1080/01621459.2017.1395341; whole groups
after Lee, Barber and Willett 2023, "Distribution-free inference with hierarchical data",
arXiv:2306.06342; what out-of-fold scores promise after Vovk 2015, "Cross-conformal predictors",
doi:10.1007/s10472-013-9368-4, and Barber, Candes, Ramdas and Tibshirani 2021, "Predictive inference
with the jackknife+", doi:10.1214/20-AOS1965.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chorale.search.statistics.arrays import Groups, Labels, Proba

ROUNDING = 1e-12


@dataclass(frozen=True)
class Conformal:
    """How sets are made: every class whose probability is at least `least_proba`.

    `by_group` says that the coverage holds for a track of a new group: there were groups enough.
    Otherwise it holds only where new tracks are like the old ones, which those of new groups are
    not quite.
    """

    coverage: float
    least_proba: float
    by_group: bool

    @property
    def guaranteed(self) -> float:
        """The coverage that is proven for thresholds from out-of-fold rows; less than is usual."""
        return max(0.0, 1 - 2 * (1 - self.coverage))

    def sets(self, proba: Proba) -> NDArray[np.bool_]:
        """Which classes are in a track's set: (n, n_classes) of (n, n_classes) probabilities.

        The most probable one always is, so no set is empty.
        """
        inside = proba >= self.least_proba
        inside[np.arange(len(proba)), proba.argmax(axis=1)] = True
        return inside


def fit_conformal(proba: Proba, labels: Labels, groups: Groups, *, coverage: float) -> Conformal:
    """Learns how probable a class must be to be in the sets.

    Each group counts the same, however many tracks it has, and a group that was not seen counts as
    one whose tracks fit worst of all. That takes coverage / (1 - coverage) groups, 9 for 0.9; with
    fewer each track counts for itself.

    Args:
        proba: (n, n_classes) of rows that the ensemble was not fitted on.
        labels: (n,) class indices.
        groups: (n,) artists, speakers, recordings.
        coverage: how often a set shall hold the true class, between 0 and 1.
    """
    true = proba[np.arange(len(labels)), labels].astype(np.float64)
    _, group_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    n_groups = len(sizes)
    by_group = n_groups / (n_groups + 1) >= coverage - ROUNDING
    if by_group:
        shares = 1 / ((n_groups + 1) * sizes[group_of])
    else:
        shares = np.full(len(true), 1 / (len(true) + 1))
    order = np.argsort(-true, kind="stable")
    reached = np.cumsum(shares[order]) >= coverage - ROUNDING
    # with hardly any row even the worst is no bound: then every class is in every set
    least = float(true[order][np.argmax(reached)]) if reached.any() else 0.0
    return Conformal(coverage, least, by_group)


def covers(sets: NDArray[np.bool_], labels: Labels) -> NDArray[np.bool_]:
    """Whether each set (n, n_classes) holds the true class (n,)."""
    return np.asarray(sets[np.arange(len(labels)), labels])
