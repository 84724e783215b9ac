"""Conformal prediction: sets of classes that contain the true class with a requested coverage.

An easy track gets a set of one class, a hard one a set of several, which an application can show
instead of a guess. The threshold comes from out-of-fold rows, never from the test set.

Where tracks have several labels, the sets hold on average the requested share of a track's labels:
the loss of a set, the share of the labels that it misses, takes the place of a miss (conformal risk
control). Where labels are unknown, it is the share of the known ones; tracks that are not known to
have one, nor to have none, do not count.

The coverage is marginal: on average over studies like this one, sets contain the true class as
often as requested, or slightly more often, as test tracks are predicted by the mean over folds. In
a single study it may be some points lower or higher, depending on its groups. Rows that were
predicted by different networks are not one calibration set, so the guarantee is only that of
cross-conformal
predictors: 1 - 2 * (1 - coverage).

Source: Vovk, Gammerman and Shafer 2005, "Algorithmic Learning in a Random World",
doi:10.1007/b106715; sets of smallest size after Sadinle, Lei and Wasserman 2019, "Least Ambiguous
Set-Valued Classifiers with Bounded Error Levels", doi:10.1080/01621459.2017.1395341; groups
after Lee, Barber and Willett 2023, "Distribution-free inference with hierarchical data",
arXiv:2306.06342; what out-of-fold scores promise after Vovk 2015, "Cross-conformal predictors",
doi:10.1007/s10472-013-9368-4, and Barber, Candes, Ramdas and Tibshirani 2021, "Predictive inference
with the jackknife+", doi:10.1214/20-AOS1965; several labels after Angelopoulos, Bates, Fisch, Lei
and Schuster 2024, "Conformal Risk Control", arXiv:2208.02814.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.label_sets import is_known, is_present
from chorale.search.statistics.arrays import Floats, Groups, Labels, Proba

ROUNDING = 1e-12


@dataclass(frozen=True)
class ConformalPredictor:
    """A fitted conformal predictor: a set holds every class of probability `least_proba` or more.

    `by_group`: there were enough groups, so the coverage holds for tracks of new groups. Otherwise
    it holds only for tracks that are exchangeable with the calibration rows, which tracks of new
    groups are not quite.
    """

    coverage: float
    least_proba: float
    by_group: bool
    multi_label: bool = False

    @property
    def guaranteed(self) -> float:
        """The proven coverage for a threshold from out-of-fold rows; it is usually exceeded."""
        return max(0.0, 1 - 2 * (1 - self.coverage))

    def sets(self, proba: Proba) -> NDArray[np.bool_]:
        """Which classes are in each track's set: (n, n_classes), for (n, n_classes) probabilities.

        The most probable class always is, so no set is empty, except where multi-label.
        """
        inside = np.asarray(proba >= self.least_proba)
        if self.multi_label:
            return inside
        inside[np.arange(len(proba)), proba.argmax(axis=1)] = True
        return inside


def fit_conformal(
    proba: Proba, labels: Labels, groups: Groups, *, coverage: float
) -> ConformalPredictor:
    """Fits the probability threshold of the sets.

    Each group has the same weight, however many tracks it has, and the unseen group counts as one
    with the lowest probabilities of all. That needs coverage / (1 - coverage) groups, 9 for 0.9;
    with fewer groups each track has the same weight.

    Args:
        proba: (n, n_classes) of rows that the ensemble was not fitted on.
        labels: (n,) class indices, or (n, n_classes) of 0, 1 and `UNKNOWN`.
        groups: (n,) artists, speakers, recordings.
        coverage: the requested share of sets that contain the true class, between 0 and 1.
    """
    multi_label = labels.ndim == 2
    if multi_label and not (counts := has_loss(labels)).all():
        proba, labels, groups = proba[counts], labels[counts], groups[counts]
    _, group_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    n_groups, n = len(sizes), len(groups)
    by_group = n_groups / (n_groups + 1) >= coverage - ROUNDING
    of_track = 1 / ((n_groups + 1) * sizes[group_of]) if by_group else np.full(n, 1 / (n + 1))
    if multi_label:  # a track's weight is shared by its labels
        present = is_present(labels)
        rows, columns = np.nonzero(present)
        of_label = of_track / np.maximum(present.sum(axis=1), 1)
        true, shares = proba[rows, columns].astype(np.float64), of_label[rows]
        without = of_track[~present.any(axis=1)]  # tracks without a label: no set misses one
        true, shares = np.append(true, np.ones(len(without))), np.append(shares, without)
    else:
        true, shares = proba[np.arange(n), labels].astype(np.float64), of_track
    order = np.argsort(-true, kind="stable")
    reached = np.cumsum(shares[order]) >= coverage - ROUNDING
    # with very few rows no threshold suffices: then every class is in every set
    least = float(true[order][np.argmax(reached)]) if reached.any() else 0.0
    return ConformalPredictor(coverage, least, by_group, multi_label)


def has_loss(labels: Labels) -> NDArray[np.bool_]:
    """The rows (n,) whose sets can miss a label, or are known to miss none.

    The others are multi-label rows that are not known to have a label, and some are unknown.
    """
    if labels.ndim == 1:
        return np.ones(len(labels), dtype=bool)
    return np.asarray(is_present(labels).any(axis=1) | is_known(labels).all(axis=1))


def covers(sets: NDArray[np.bool_], labels: Labels) -> Floats:
    """Whether each set (n, n_classes) contains the true class, 0 or 1: (n,).

    Where multi-label, the share of the track's known labels that it contains; 1 where it has none.
    """
    if labels.ndim == 2:
        present = is_present(labels)
        missed = (~sets & present).sum(axis=1)
        return np.asarray(1 - missed / np.maximum(present.sum(axis=1), 1))
    return np.asarray(sets[np.arange(len(labels)), labels], np.float64)
