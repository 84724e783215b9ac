"""The accuracy gain of averaging over folds (bagging), estimated on unlabelled test rows.

An out-of-fold row is predicted by one network of each member, a test row by the mean of all, one
per fold. At the temperature that calibrates out-of-fold rows, the mean confidence of the networks
of one fold estimates their accuracy on test rows. Let q be the pooled probabilities of all folds,
taken as the true class probabilities: a network that predicts class c is then right with
probability q(c), and so is the mean. The temperature of q is set so that the single networks reach
that accuracy; the accuracy of the mean beyond it is the gain.

Pooling by averaging probabilities is too flat where networks differ, by averaging logarithms too
sharp. Halfway, with the power mean of exponent 1/2, the gain is within 1 point of the true one in
every simulated setting; averaged probabilities underestimated it by up to 1.4 points.

Nothing is assumed about how networks differ, and the mean may be of any kind of ensemble. Assumed
is that a temperature transfers from out-of-fold to test rows, and that networks are more confident
where they are more often right. Where networks agree with q less often than their estimated
accuracy, no temperature of q fits; then the out-of-fold temperature is kept.

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
from chorale.search.statistics.calibration import LOG_TEMPERATURE_BOUNDS, calibrate

MIN_TEMPERATURE_RATIO = 0.3
"""Lower ratios would fit only where networks' confidence nearly equals their agreement with the
mean."""

MAX_ROWS = 2000
"""The estimate uses evenly spaced test rows, at most this many."""


@dataclass(frozen=True)
class FoldAveraging:
    """The effect of averaging over folds.

    `gain` is in accuracy, 0 or more. `temperature_ratio` is the ensemble's temperature over that of
    one fold's networks, at most 1: a mean of networks is less confident than each of them, so the
    temperature that calibrates out-of-fold rows is too high for it.
    """

    gain: float
    temperature_ratio: float


def estimate_fold_averaging(
    by_fold: Proba, temperature: float, final: Proba | None = None
) -> FoldAveraging:
    """Estimates the gain of the mean of all folds' networks over those of one fold.

    Args:
        by_fold: probabilities for the same rows, on which none was trained, by the networks of each
            fold, (n_folds, n, n_classes).
        temperature: the one that calibrates the networks of one fold.
        final: the final probabilities for these rows, (n, n_classes), if not that mean: a baseline
            has one model of all rows, which is as accurate, but more confident.
    """
    step = math.ceil(by_fold.shape[1] / MAX_ROWS)
    by_fold = by_fold[:, ::step]
    mean, pooled = by_fold.mean(axis=0), _pooled(by_fold)
    ensemble = mean if final is None else final[::step]
    rows, of_each, of_mean = np.arange(len(mean)), by_fold.argmax(axis=2), mean.argmax(axis=1)

    def accuracy_of(named: Labels, log_temperature: float) -> float:
        return float(calibrate(pooled, math.exp(log_temperature))[rows, named].mean())

    log_one = math.log(temperature)
    accuracy = _confidence(by_fold, log_one)
    if accuracy_of(of_each, LOG_TEMPERATURE_BOUNDS[0]) <= accuracy:
        return FoldAveraging(
            max(0.0, accuracy_of(of_mean, log_one) - accuracy_of(of_each, log_one)), 1.0
        )
    least = log_one + math.log(MIN_TEMPERATURE_RATIO)
    at = max(least, log_temperature_of(lambda log: accuracy_of(of_each, log), accuracy))
    reached = accuracy_of(of_mean, at)
    gain = max(0.0, reached - accuracy_of(of_each, at))
    log_ensemble = max(least, log_temperature_of(lambda log: _confidence(ensemble, log), reached))
    return FoldAveraging(gain, math.exp(min(0.0, log_ensemble - log_one)))


def _pooled(by_fold: Proba) -> Proba:
    """The power mean with exponent 1/2 over folds, (n, n_classes)."""
    pooled = np.sqrt(by_fold).mean(axis=0) ** 2
    return np.asarray(pooled / pooled.sum(axis=1, keepdims=True))


def _confidence(proba: Proba, log_temperature: float) -> float:
    return float(calibrate(proba, math.exp(log_temperature)).max(axis=-1).mean())


def log_temperature_of(
    share: Callable[[float], float], wanted: float, *, precision: float = 1e-4
) -> float:
    """The log temperature at which `share`, which decreases in it, equals `wanted`.

    A limit of `LOG_TEMPERATURE_BOUNDS` where it does not within them.
    """
    from scipy.optimize import brentq  # slow to import, and not needed to predict

    low, high = LOG_TEMPERATURE_BOUNDS
    if share(low) <= wanted:
        return low
    if share(high) >= wanted:
        return high
    return float(brentq(lambda at: share(at) - wanted, low, high, xtol=precision))
