"""The expected test mAP, estimated from out-of-fold rows before the test set is evaluated.

Four things part the mAP of all out-of-fold rows from that of a test set.

- The *set size*: the mAP of few rows is higher, as of a label with one row the rank of that row
  counts in full. So it is that of random sets of out-of-fold groups with as many rows as the test
  set has, and it holds for no other number.
- The *gain* of averaging: an out-of-fold row is predicted by one network of each member, a test row
  by the mean of K. It is the rise of the mAP that test rows have in expectation, if each label is
  present with the pooled probability of all folds (as in `search.statistics.fold_averaging`), at
  the temperature at which the networks of single folds reach their mAP. That is estimated twice:
  by out-of-fold sets, which is noisy where groups are few, and by what the networks expect of
  themselves at the temperature that calibrates out-of-fold rows. At a higher one
  a label keeps the share of test rows that it has there: else rare labels would become frequent,
  and their mAP high.
- The two *selection biases* of `search.statistics.expected_accuracy`.

In 32 simulated cells of 5 to 60 groups (votes of 1 and 6, 16 studies each, others than those on
which the estimator was chosen; `bench_statistics.py --only expected_maps`) the mean error was 1.4
to 7.4 points, and that of the plain out-of-fold mAP 3.8 to 19. The bias was -1.5 to 2.8 points, of
five groups and four labels at a low mAP 4.4 ± 1.9; it was beyond a point in 10 cells. Of 60 groups
the gain of one member was too high by up to 2.3 points. There is no interval: one without the error
of the gain covered too little.

Source: as `search.statistics.fold_averaging`; the mean over sets of a smaller size is the
U-statistic of Hoeffding 1948, doi:10.1214/aoms/1177730196.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from chorale.datasets.label_sets import is_present
from chorale.datasets.seeds import Purpose, random_generator
from chorale.lightning_models.multi_label_metrics import mean_average_precision
from chorale.search.statistics.arrays import Floats, Groups, Labels, Proba
from chorale.search.statistics.calibration import calibrate, fit_temperature
from chorale.search.statistics.fold_averaging import MAX_ROWS, log_temperature_of
from chorale.search.statistics.softmax import sigmoid

N_SETS = 60
"""Random sets of the test set's size that are scored, and at least `MIN_ROUNDS` times all rows."""

MIN_ROUNDS = 3

PROBA_FLOOR = 1e-6
N_BISECTIONS = 30

OWN_GROUPS = 20
"""Groups that the mAP which networks expect of themselves is worth. With it alone the gain of a
vote was up to 1.3 points too low in the simulation; without it the gain of five groups varied by
3.5 points instead of 1."""


@dataclass(frozen=True)
class ExpectedMap:
    """The mAP of out-of-fold rows and its corrections, for a test set of `n_tracks`.

    `set_size` is what sets of that size have more than all rows, `gain` that of the mean over
    `n_folds` networks, `configuration_bias` and `kind_bias` as in `ExpectedAccuracy`.
    """

    out_of_fold: float
    set_size: float
    gain: float
    configuration_bias: float
    kind_bias: float
    n_folds: int
    n_tracks: int

    @property
    def mAP(self) -> float:  # noqa: N802  the metric's usual name
        """The expected test mAP."""
        bias = self.configuration_bias + self.kind_bias
        return self.out_of_fold + self.set_size + self.gain - bias

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"mAP": self.mAP, **asdict(self)}


def expected_map(
    out_of_fold: Proba,
    labels: Labels,
    groups: Groups,
    by_fold: Proba,
    *,
    configuration_bias: float,
    kind_bias: float,
    seed: int,
) -> ExpectedMap:
    """Estimates an ensemble's mAP on a test set of unseen groups.

    Where the test set is larger than all out-of-fold rows, it is that of a set of their size.

    Args:
        out_of_fold: its out-of-fold probabilities, (n, n_classes).
        labels: (n, n_classes) of 0, 1 and `UNKNOWN`.
        groups: (n,).
        by_fold: its probabilities for test rows by the networks of each fold, (n_folds, n_test,
            n_classes); test labels are not used.
        configuration_bias: the selection bias of choosing configurations, in mAP.
        kind_bias: the selection bias of choosing the kind of ensemble, in mAP.
        seed: of the random sets.
    """
    used = is_present(labels).any(axis=0)  # as in the mAP: not those that are only trained on
    out_of_fold, labels, by_fold = out_of_fold[:, used], labels[:, used], by_fold[..., used]
    n_tracks = by_fold.shape[1]
    found = mean_average_precision(out_of_fold, labels)
    of_sets = map_of_sets(out_of_fold, labels, groups, n_tracks, seed=seed)
    kind = min(kind_bias, of_sets)
    configuration = min(configuration_bias, of_sets - kind)
    before = of_sets - configuration - kind
    temperature = fit_temperature(out_of_fold, labels)
    own = own_map(by_fold, temperature)
    n_groups = len(np.unique(groups))
    reached = (n_groups * before + OWN_GROUPS * own) / (n_groups + OWN_GROUPS)
    gain = min(map_gain(by_fold, reached, temperature), 1 - before)
    return ExpectedMap(found, of_sets - found, gain, configuration, kind, len(by_fold), n_tracks)


def map_of_sets(proba: Proba, labels: Labels, groups: Groups, n_tracks: int, *, seed: int) -> float:
    """The mean mAP of random sets of whole groups, with about `n_tracks` rows each.

    That of all rows where there are no more than `n_tracks`. Sets without a label do not count.

    Args:
        proba: (n, n_classes).
        labels: (n, n_classes) of 0, 1 and `UNKNOWN`.
        groups: (n,).
        n_tracks: rows of a set.
        seed: of the draws.
    """
    n_parts = len(labels) // n_tracks
    if len(labels) <= n_tracks:
        return mean_average_precision(proba, labels)
    _, group_of = np.unique(groups, return_inverse=True)
    rng, found = random_generator(seed, Purpose.TEST_SIZED_SETS), []
    for _ in range(max(MIN_ROUNDS, math.ceil(N_SETS / n_parts))):
        place = rng.permutation(int(group_of.max()) + 1)[group_of]
        order = np.argsort(place, kind="stable")
        ends = np.append(0, np.cumsum(np.bincount(place)))  # a set may end where a group does
        nearest = np.abs(ends[:, None] - n_tracks * np.arange(n_parts + 1)).argmin(axis=0)
        for first, last in zip(ends[nearest], ends[nearest][1:], strict=False):
            rows = order[first:last]
            if is_present(labels[rows]).any():
                found.append(mean_average_precision(proba[rows], labels[rows]))
    return float(np.mean(found)) if found else 0.0


def own_map(by_fold: Proba, temperature: float) -> float:
    """The mAP that the networks of one fold expect of themselves at a temperature, the mean.

    Arguments as in `map_gain`.
    """
    by_fold = _some_rows(by_fold)
    truths = (calibrate(one, temperature, multi_label=True) for one in by_fold)
    return float(np.mean([probable_map(*pair) for pair in zip(by_fold, truths, strict=True)]))


def map_gain(by_fold: Proba, reached: float, temperature: float) -> float:
    """The mAP of the mean of all folds' networks above that of one fold's, 0 or more; estimated.

    Args:
        by_fold: probabilities for the same rows, on which none was trained, by the networks of each
            fold, (n_folds, n, n_classes).
        reached: the mAP of the networks of one fold.
        temperature: the one that calibrates the networks of one fold.
    """
    by_fold = _some_rows(by_fold)
    mean, pooled = by_fold.mean(axis=0), _pooled(by_fold)
    shares = calibrate(pooled, temperature, multi_label=True).mean(axis=0)
    shares = np.clip(shares, PROBA_FLOOR, 1 - PROBA_FLOOR)

    def truth_at(log_temperature: float) -> Floats:
        if log_temperature > math.log(temperature):
            return _with_shares(pooled, log_temperature, shares)
        return calibrate(pooled, math.exp(log_temperature), multi_label=True)

    def of_each(log_temperature: float) -> float:
        truth = truth_at(log_temperature)
        return float(np.mean([probable_map(one, truth) for one in by_fold]))

    at = log_temperature_of(of_each, reached, precision=0.01)
    return max(0.0, probable_map(mean, truth_at(at)) - of_each(at))


def probable_map(proba: Proba, truth: Proba) -> float:
    """The mAP to expect of `proba` (n, n_classes), where labels are present with probability
    `truth` (n, n_classes), each independently. A label counts as it is likely to be in any row.
    """
    order = np.argsort(-proba, axis=0, kind="stable")
    share = np.take_along_axis(np.asarray(truth, np.float64), order, axis=0)
    above = np.cumsum(share, axis=0) - share
    ranks = np.arange(1, len(share) + 1)[:, None]
    found = (share * (1 + above) / ranks).sum(axis=0) / np.maximum(share.sum(axis=0), 1e-12)
    present = 1 - np.prod(1 - share, axis=0)
    return float((found * present).sum() / max(float(present.sum()), 1e-12))


def _some_rows(by_fold: Proba) -> Proba:
    """Evenly spaced rows, at most `MAX_ROWS`."""
    return by_fold[:, :: math.ceil(by_fold.shape[1] / MAX_ROWS)]


def _with_shares(proba: Proba, log_temperature: float, shares: Floats) -> Floats:
    """`proba` (n, n_classes) at a temperature, its logits shifted to have the means `shares`."""
    clipped = np.clip(np.asarray(proba, np.float64), PROBA_FLOOR, 1 - PROBA_FLOOR)
    logits = np.log(clipped / (1 - clipped)) / math.exp(log_temperature)
    wanted = np.log(shares / (1 - shares))
    low, high = wanted - logits.max(axis=0), wanted - logits.min(axis=0)  # bisection
    for _ in range(N_BISECTIONS):
        middle = (low + high) / 2
        above = sigmoid(logits + middle).mean(axis=0) > shares
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return sigmoid(logits + (low + high) / 2)


def _pooled(by_fold: Proba) -> Floats:
    """The power mean with exponent 1/2 over folds of each decision, (n, n_classes)."""
    yes, no = (np.sqrt(one).mean(axis=0) ** 2 for one in (by_fold, 1 - by_fold))
    return np.asarray(yes / (yes + no), np.float64)
