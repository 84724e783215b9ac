"""What the mean over folds brings: seen on the test rows, without their labels.

An out-of-fold row is judged by one network of each member, a test row by the mean of all of them,
one for each fold. At the temperature that calibrates out-of-fold rows the mean confidence of the
networks of one fold tells their accuracy on test rows. Let q be their pooled probabilities, as if
they were right: then such a network that names class c is right with the probability q(c), and so
is the mean. The temperature of q is the one at which the networks come to that accuracy, and what
the mean comes to beyond it is the gain.

Pools are too flat where probabilities are averaged and networks differ, and too sharp where their
logarithms are. Halfway, with the power mean of exponent 1/2, the gain is within 1 point of the true
one in every simulated world; averaged probabilities told up to 1.4 points too little.

So nothing is assumed of how networks differ, and the mean may be of any kind of ensemble. Assumed
is that a temperature carries over from out-of-fold to test rows, and that networks are surer where
they are more often right. Where they agree with q less often than they would be right, no
temperature makes that true; then the out-of-fold one is kept.

Source: Guillory et al. 2021, "Predicting with Confidence on Unseen Distributions", arXiv:2107.03315
(accuracy as mean confidence); Ranjan and Gneiting 2010, "Combining Probability Forecasts",
doi:10.1111/j.1467-9868.2009.00726.x (a mean of calibrated forecasts is not calibrated); Krogh and
Vedelsby 1995, "Neural Network Ensembles, Cross Validation, and Active Learning" (a mean gains by
how much its networks disagree).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from chorale.lightning_models.metrics import Labels, Proba
from chorale.search.statistics.calibration import LOG_BOUNDS, calibrate

LEAST_RATIO = 0.3
"""A lower one would fit only where networks are nearly as sure as they agree with their mean."""

MOST_ROWS = 2000
"""So many test rows are looked at."""


@dataclass(frozen=True)
class Averaged:
    """`gain` of accuracy, 0 or more; `temperature_ratio` of the whole to one network, at most 1.

    A mean of networks is more timid than each of them, so the temperature that calibrates
    out-of-fold rows is too high for it.
    """

    gain: float
    temperature_ratio: float


def of_folds(by_fold: Proba, temperature: float, whole: Proba | None = None) -> Averaged:
    """What the mean of the networks of all folds brings beyond those of one.

    Args:
        by_fold: what those of each fold say of the same rows, which none trained on, (n_folds, n,
            n_classes).
        temperature: the one that calibrates those of one fold.
        whole: what is said of these rows in the end, (n, n_classes), if not by that mean: a
            baseline has one model of all rows, which is as often right, but not as timid.
    """
    step = math.ceil(by_fold.shape[1] / MOST_ROWS)
    by_fold = by_fold[:, ::step]
    mean, pooled = by_fold.mean(axis=0), _pooled(by_fold)
    said = mean if whole is None else whole[::step]
    rows, of_each, of_mean = np.arange(len(mean)), by_fold.argmax(axis=2), mean.argmax(axis=1)

    def right(named: Labels, log_temperature: float) -> float:
        return float(calibrate(pooled, math.exp(log_temperature))[rows, named].mean())

    of_one = math.log(temperature)
    accuracy = _confidence(by_fold, of_one)
    if right(of_each, LOG_BOUNDS[0]) <= accuracy:
        return Averaged(max(0.0, right(of_mean, of_one) - right(of_each, of_one)), 1.0)
    least = of_one + math.log(LEAST_RATIO)
    at = max(least, _where(lambda log: right(of_each, log), accuracy))
    reached = right(of_mean, at)
    gain = max(0.0, reached - right(of_each, at))
    sure = max(least, _where(lambda log: _confidence(said, log), reached))
    return Averaged(gain, math.exp(min(0.0, sure - of_one)))


def _pooled(by_fold: Proba) -> Proba:
    """The power mean with the exponent 1/2 of what each says, (n, n_classes)."""
    pooled = np.sqrt(by_fold).mean(axis=0) ** 2
    return np.asarray(pooled / pooled.sum(axis=1, keepdims=True))


def _confidence(proba: Proba, log_temperature: float) -> float:
    return float(calibrate(proba, math.exp(log_temperature)).max(axis=-1).mean())


def _where(share: Callable[[float], float], wanted: float) -> float:
    """The logarithm of the temperature at which a share, which falls with it, is what is wanted."""
    from scipy.optimize import brentq  # which who only predicts does not wait for

    low, high = LOG_BOUNDS
    if share(low) <= wanted:
        return low
    if share(high) >= wanted:
        return high
    return float(brentq(lambda at: share(at) - wanted, low, high, xtol=1e-4))
