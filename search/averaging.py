"""What the mean over folds brings: seen on the test rows, without their labels.

An out-of-fold row is judged by one network of each member, a test row by the mean of all of them,
one for each fold. Were the mean's probabilities q right, a network that names class c of a track
would be right there with the probability q(c), and the mean with the highest of q. The temperature
of q is the one at which the networks of one fold come to the accuracy that they have out of fold;
what the mean comes to at that temperature is what it is expected to reach.

So nothing is assumed of how networks differ, and the mean may be of any kind of ensemble. Assumed
is that test rows are as hard as out-of-fold rows, and that the mean is surer where it is more often
right. Where networks agree with their mean less often than they are right out of fold, as on test
groups that are harder, no temperature makes that true. Then, and as a bound, the temperature at
which they are as sure as they are right is taken.

Source: Guillory et al. 2021, "Predicting with Confidence on Unseen Distributions", arXiv:2107.03315
(accuracy as mean confidence); Krogh and Vedelsby 1995, "Neural Network Ensembles, Cross Validation,
and Active Learning" (a mean gains by how much its networks disagree).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from chorale.lightning_models.metrics import Proba
from chorale.search.softmax import softmax

LOG_BOUNDS = (-4.0, 4.0)
"""Of the logarithm of a temperature."""

SMALLEST = 1e-12
"""What logarithms are taken of at least."""

LEAST_COOLER = 0.3
"""Below is nothing in `tests/benchmarks/simulated_studies.py`, but where accuracy is nearly 1."""

MOST_ROWS = 2000
"""So many test rows are looked at."""


@dataclass(frozen=True)
class Averaged:
    """`gain` of accuracy, 0 or more; `cooler` is what a temperature is multiplied by, at most 1.

    A mean of networks is more timid than each of them, so the temperature that makes out-of-fold
    rows as sure as they are right is too high for it.
    """

    gain: float
    cooler: float


def of_folds(by_fold: Proba, accuracy: float) -> Averaged:
    """What the mean of the networks of all folds brings beyond those of one.

    Args:
        by_fold: what those of each fold say of the same rows, which none trained on, (n_folds, n,
            n_classes).
        accuracy: of those of one fold, 0 to 1.
    """
    by_fold = by_fold[:, :: math.ceil(by_fold.shape[1] / MOST_ROWS)]
    logs = np.log(np.clip(by_fold.mean(axis=0), SMALLEST, 1.0))
    of_each = np.log(np.clip(by_fold, SMALLEST, 1.0))
    named = by_fold.argmax(axis=2)
    rows = np.arange(len(logs))

    def right(log_temperature: float) -> float:
        q = softmax(logs / math.exp(log_temperature))
        return float(np.mean([q[rows, one].mean() for one in named]))

    def sure(log_temperature: float) -> float:
        return float(softmax(of_each / math.exp(log_temperature)).max(axis=2).mean())

    of_one = _where(sure, accuracy)
    at = of_one
    if right(LOG_BOUNDS[0]) > accuracy:
        at = max(_where(right, accuracy), of_one + math.log(LEAST_COOLER))
    mean = float(softmax(logs / math.exp(at)).max(axis=1).mean())
    gain = min(1 - accuracy, max(0.0, mean - right(at)))
    return Averaged(gain, math.exp(min(0.0, at - of_one)))


def _where(share: Callable[[float], float], wanted: float) -> float:
    """The logarithm of the temperature at which a share, which falls with it, is what is wanted."""
    from scipy.optimize import brentq  # which who only predicts does not wait for

    low, high = LOG_BOUNDS
    if share(low) <= wanted:
        return low
    if share(high) >= wanted:
        return high
    return float(brentq(lambda at: share(at) - wanted, low, high, xtol=1e-4))
