"""Makes an ensemble as sure as it is right: one temperature, learnt on out-of-fold rows.

A mean of several networks is mostly too timid, a single one too sure; the order of the classes, and
so the accuracy, stays. `search.evaluation.final_evaluation` reports scores before and after.

Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599.
"""

import numpy as np
from numpy.typing import NDArray

from chorale.lightning_models.metrics import log_loss, log_losses
from chorale.search.statistics.arrays import Floats, Labels, Proba
from chorale.search.statistics.group_cuts import held_out
from chorale.search.statistics.softmax import log_softmax, softmax

SMALLEST = 1e-9
"""What logarithms are taken of at least."""

LOG_BOUNDS = (-3.0, 3.0)
"""Of the logarithm of the temperature: 0.05 to 20."""


def temperature(proba: Proba, labels: Labels) -> float:
    """The temperature at which `proba` (n, n_classes) has the lowest log loss on `labels` (n,).

    Below 1 makes surer, above 1 more timid. A few rows that are all right would ask for 0, and are
    stopped at a bound.
    """
    logs = _logs(proba)

    def loss(log_temperature: float) -> float:
        log_p = log_softmax(logs / np.exp(log_temperature))
        return -float(log_p[np.arange(len(labels)), labels].mean())

    from scipy.optimize import minimize_scalar  # which who only predicts does not wait for

    return float(np.exp(minimize_scalar(loss, bounds=LOG_BOUNDS, method="bounded").x))


def calibrate(proba: Proba, at: float) -> Floats:
    """`proba` (n, n_classes) at another temperature; rows sum to 1."""
    return np.asarray(softmax(_logs(proba) / at))


def calibrated_log_loss(proba: Proba, labels: Labels) -> float:
    """The log loss of `proba` (n, n_classes) at its best temperature for these very rows, in nats.

    It tells networks apart that are right on the same tracks, whether they are too sure or too
    timid.
    """
    return float(calibrated_losses(proba, labels).mean())


def calibrated_losses(proba: Proba, labels: Labels) -> Floats:
    """The same of each row, (n,)."""
    return log_losses(calibrate(proba, temperature(proba, labels)), labels)


def cross_calibrate(proba: Proba, labels: Labels, cuts: NDArray[np.int64]) -> Floats:
    """`proba` (n, n_classes), each cut at the temperature of all others: honest for a report.

    With a single cut it is that of its own rows.
    """
    if cuts.max() == 0:
        return calibrate(proba, temperature(proba, labels))
    found = np.zeros(proba.shape)
    for out in held_out(cuts):
        found[out] = calibrate(proba[out], temperature(proba[~out], labels[~out]))
    return found


def honest_temperature(
    proba: Proba, labels: Labels, cuts: NDArray[np.int64]
) -> tuple[float, Floats]:
    """The temperature to use, and the rows as `cross_calibrate` says them.

    Where a temperature that was learnt on some groups makes others worse, which happens with few
    groups, it is 1 and the rows stay as they are.
    """
    after = cross_calibrate(proba, labels, cuts)
    if log_loss(after, labels) < log_loss(proba, labels):
        return temperature(proba, labels), after
    return 1.0, np.asarray(proba, np.float64)


def _logs(proba: Proba) -> Floats:
    return np.asarray(np.log(np.maximum(proba, SMALLEST, dtype=np.float64)))
