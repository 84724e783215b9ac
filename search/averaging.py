"""What the mean over folds brings: seen on the test rows, without their labels.

An out-of-fold row is judged by one network of each member, a test row by the mean of all of them,
one for each fold. At the temperature that calibrates out-of-fold rows the mean confidence of the
networks of one fold tells their accuracy on test rows. Were the mean's probabilities q right, such
a network that names class c would be right with the probability q(c), and the mean with the highest
of q: the temperature of q is the one at which the networks come to that accuracy, and what the mean
comes to beyond it is the gain.

So nothing is assumed of how networks differ, and the mean may be of any kind of ensemble. Assumed
is that a temperature carries over from out-of-fold to test rows, and that the mean is surer where
it is more often right. Where networks agree with their mean less often than they would be right, no
temperature makes that true; then the out-of-fold one is kept.

Source: Guillory et al. 2021, "Predicting with Confidence on Unseen Distributions", arXiv:2107.03315
(accuracy as mean confidence); Krogh and Vedelsby 1995, "Neural Network Ensembles, Cross Validation,
and Active Learning" (a mean gains by how much its networks disagree).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from chorale.lightning_models.metrics import Proba
from chorale.search.calibration import LOG_BOUNDS, calibrate

LEAST_RATIO = 0.3
"""A lower one would fit only where networks are nearly as sure as they agree with their mean."""

MOST_ROWS = 2000
"""So many test rows are looked at."""


@dataclass(frozen=True)
class Averaged:
    """`gain` of accuracy, 0 or more; `temperature_ratio` of the mean to one network, at most 1.

    A mean of networks is more timid than each of them, so the temperature that calibrates
    out-of-fold rows is too high for it.
    """

    gain: float
    temperature_ratio: float


def of_folds(by_fold: Proba, temperature: float) -> Averaged:
    """What the mean of the networks of all folds brings beyond those of one.

    Args:
        by_fold: what those of each fold say of the same rows, which none trained on, (n_folds, n,
            n_classes).
        temperature: the one that calibrates those of one fold.
    """
    by_fold = by_fold[:, :: math.ceil(by_fold.shape[1] / MOST_ROWS)]
    mean, named = by_fold.mean(axis=0), by_fold.argmax(axis=2)
    rows = np.arange(len(mean))

    def right(log_temperature: float) -> float:
        q = calibrate(mean, math.exp(log_temperature))
        return float(q[rows, named].mean())

    of_one = at = math.log(temperature)
    accuracy = float(calibrate(by_fold, temperature).max(axis=2).mean())
    if right(LOG_BOUNDS[0]) > accuracy:
        at = max(_where(right, accuracy), of_one + math.log(LEAST_RATIO))
    reached = float(calibrate(mean, math.exp(at)).max(axis=1).mean())
    return Averaged(max(0.0, reached - right(at)), math.exp(min(0.0, at - of_one)))


def _where(share: Callable[[float], float], wanted: float) -> float:
    """The logarithm of the temperature at which a share is what is wanted; it falls with it.

    It is more than that at the lowest temperature.
    """
    from scipy.optimize import brentq  # which who only predicts does not wait for

    low, high = LOG_BOUNDS
    if share(high) >= wanted:
        return high
    return float(brentq(lambda at: share(at) - wanted, low, high, xtol=1e-4))
