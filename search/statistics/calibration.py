"""Calibration by temperature scaling, with one temperature fitted on out-of-fold rows.

A mean of several networks is mostly underconfident, a single one overconfident. Temperature scaling
keeps the order of the classes, and so the accuracy. `search.evaluation.final_evaluation` reports
scores before and after.

Multi-label probabilities, where labels are (n, n_classes), are scaled by one temperature for the
logits of all labels; it keeps the order of the rows of each label, and so the mAP.

Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599.
"""

import numpy as np
from numpy.typing import NDArray

from chorale.lightning_models.metrics import log_loss, log_losses, mean_loss
from chorale.search.statistics.arrays import (
    Floats,
    Labels,
    Proba,
    decisions,
    from_decisions,
    known_decisions,
)
from chorale.search.statistics.inner_folds import held_out_masks
from chorale.search.statistics.softmax import log_softmax, softmax

CALIBRATION_PROBA_FLOOR = 1e-9
"""Probabilities are clipped to this before logarithms are taken."""

LOG_TEMPERATURE_BOUNDS = (-3.0, 3.0)
"""Bounds of the logarithm of the temperature: temperatures of 0.05 to 20."""


def fit_temperature(proba: Proba, labels: Labels) -> float:
    """The temperature at which `proba` (n, n_classes) has the lowest log loss on `labels` (n,).

    Below 1 it raises the confidence, above 1 it lowers it. Where all rows are correct the optimum
    is 0, and the lower bound is returned.
    """
    if labels.ndim == 2:
        proba, labels = known_decisions(proba, labels)
        if not len(labels):
            return 1.0
    logs = _logs(proba)

    def loss(log_temperature: float) -> float:
        log_p = log_softmax(logs / np.exp(log_temperature))
        return -float(log_p[np.arange(len(labels)), labels].mean())

    from scipy.optimize import minimize_scalar  # slow to import, and not needed to predict

    return float(np.exp(minimize_scalar(loss, bounds=LOG_TEMPERATURE_BOUNDS, method="bounded").x))


def calibrate(proba: Proba, temperature: float, *, multi_label: bool = False) -> Floats:
    """Scales `proba` (n, n_classes) to a temperature; rows sum to 1, except where `multi_label`."""
    if multi_label:
        return from_decisions(calibrate(decisions(proba), temperature), proba.shape[1])
    return np.asarray(softmax(_logs(proba) / temperature))


def calibrated_log_loss(proba: Proba, labels: Labels) -> float:
    """The log loss of `proba` (n, n_classes) at the optimal temperature for these rows, in nats.

    It compares networks whatever their calibration: two that are right on the same tracks may be
    over- or underconfident.
    """
    return mean_loss(calibrated_losses(proba, labels), labels)


def calibrated_losses(proba: Proba, labels: Labels) -> Floats:
    """The log loss of each row, (n,), at the temperature of `calibrated_log_loss`."""
    return log_losses(_calibrated(proba, proba, labels), labels)


def cross_calibrate(proba: Proba, labels: Labels, folds: NDArray[np.int64]) -> Floats:
    """Calibrates each inner fold of `proba` (n, n_classes) at a temperature fitted on the others.

    So no row is scored at a temperature that was fitted on it, except where there is one fold.
    """
    if folds.max() == 0:
        return _calibrated(proba, proba, labels)
    found = np.zeros(proba.shape)
    for out in held_out_masks(folds):
        found[out] = _calibrated(proba[out], proba[~out], labels[~out])
    return found


def _calibrated(proba: Proba, fitted_on: Proba, labels: Labels) -> Floats:
    """`proba` at the temperature of other rows and their labels."""
    temperature = fit_temperature(fitted_on, labels)
    return calibrate(proba, temperature, multi_label=labels.ndim == 2)


def validated_temperature(
    proba: Proba, labels: Labels, folds: NDArray[np.int64]
) -> tuple[float, Floats]:
    """The temperature to use, and the rows calibrated by `cross_calibrate`.

    Where temperatures fitted on some groups raise the log loss of others, which happens with few
    groups, the temperature is 1 and the rows stay unchanged.
    """
    after = cross_calibrate(proba, labels, folds)
    if log_loss(after, labels) < log_loss(proba, labels):
        return fit_temperature(proba, labels), after
    return 1.0, np.asarray(proba, np.float64)


def _logs(proba: Proba) -> Floats:
    return np.asarray(np.log(np.maximum(proba, CALIBRATION_PROBA_FLOOR, dtype=np.float64)))
