"""Metrics of probabilities against labels: accuracy, macro F1, log loss, calibration error.

Training reports them after each epoch; the search compares trials and ensembles by them. Log loss
and calibration error are also of multi-label probabilities, (n, n_classes) labels of 0 and 1, or
`UNKNOWN`; the other metrics of these are in `multi_label_metrics`.
"""

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.label_sets import is_known, is_present

Proba = NDArray[np.floating]
Labels = NDArray[np.integer]

PROBA_FLOOR = float(np.finfo(np.float32).eps)
"""The lower bound of probabilities in the log loss, 1.2e-7: the resolution of float32."""

N_CALIBRATION_BINS = 15
"""Equal-width confidence bins of the calibration error, as in its source."""


def accuracy(proba: Proba, labels: Labels) -> float:
    """The share of rows whose most probable class is the true one.

    Args:
        proba: (n, n_classes), rows sum to 1.
        labels: (n,), class indices.
    """
    return float(correct(proba, labels).mean())


def correct(proba: Proba, labels: Labels) -> NDArray[np.float64]:
    """(n,): 1 where the most probable class is the true one, else 0."""
    return np.asarray(proba.argmax(axis=1) == labels, dtype=np.float64)


def confusion_matrix(proba: Proba, labels: Labels) -> NDArray[np.int64]:
    """(n_classes, n_classes) counts; row = true class, column = most probable class."""
    n_classes = proba.shape[1]
    cells = labels.astype(np.int64) * n_classes + proba.argmax(axis=1)
    counts = np.bincount(cells, minlength=n_classes * n_classes)
    return counts.reshape(n_classes, n_classes)


def accuracy_per_class(proba: Proba, labels: Labels) -> NDArray[np.float64]:
    """(n_classes,): the recall of each class; NaN for a class without rows."""
    counts = confusion_matrix(proba, labels)
    rows = counts.sum(axis=1)
    found = np.full(len(rows), np.nan)
    np.divide(np.diag(counts), rows, out=found, where=rows > 0)
    return found


def macro_f1(proba: Proba, labels: Labels, *, scored: NDArray[np.bool_] | None = None) -> float:
    """The mean F1 of the classes that occur among the labels or the predictions.

    A class that occurs only in one of them counts as 0; one that occurs in neither is left out.
    With `scored` (n_classes,) only classes of that mask count.
    """
    counts = confusion_matrix(proba, labels)
    found = counts.sum(axis=0) + counts.sum(axis=1)
    occurs = found > 0 if scored is None else (found > 0) & scored
    return float(np.mean(2 * np.diag(counts)[occurs] / found[occurs]))


def log_loss(proba: Proba, labels: Labels) -> float:
    """The mean of -log(probability of the true class), in nats.

    Where multi-label, the mean of the binary cross-entropy over all known pairs of a row and a
    label, or 0 without any. Probabilities are clipped at `PROBA_FLOOR`, so that one confident
    mistake costs at most 15.9 nats, whatever the precision of `proba`. NaN stays NaN.
    """
    return mean_loss(log_losses(proba, labels), labels)


def mean_loss(losses: NDArray[np.float64], labels: Labels) -> float:
    """The mean of the losses (n,) of `log_losses`: over rows, or over known pairs of labels."""
    if labels.ndim == 1 or (known := is_known(labels)).all():
        return float(losses.mean())
    n_known = known.sum(axis=1)
    return float(losses @ n_known / max(1, n_known.sum()))


def log_losses(proba: Proba, labels: Labels) -> NDArray[np.float64]:
    """The log loss of each row, (n,); where multi-label, the mean over its known labels, or 0."""
    if labels.ndim == 2:
        true = np.where(is_present(labels), proba, 1 - proba.astype(np.float64)).astype(np.float64)
        losses = -np.log(np.clip(true, PROBA_FLOOR, 1.0))
        known = is_known(labels)
        if known.all():
            return np.asarray(losses.mean(axis=1))
        return np.asarray((losses * known).sum(axis=1) / np.maximum(known.sum(axis=1), 1))
    true = proba[np.arange(len(labels)), labels].astype(np.float64)
    return np.asarray(-np.log(np.clip(true, PROBA_FLOOR, 1.0)))


def expected_calibration_error(proba: Proba, labels: Labels) -> float:
    """ECE: the mean absolute difference of confidence and accuracy over confidence bins.

    Rows are binned into `N_CALIBRATION_BINS` equal-width bins of (0, 1] by their highest
    probability; bins are weighted by their number of rows. 0 is perfect, 1 the worst. Where
    multi-label, each known label of each row is binned by its own probability, and compared with
    the share of labels that are present.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", arXiv:1706.04599.
    """
    if labels.ndim == 2:
        known = is_known(labels)
        confidence, right = proba[known].astype(np.float64), is_present(labels)[known]
    else:
        confidence = proba.max(axis=1).astype(np.float64)
        right = proba.argmax(axis=1) == labels
    bins = np.clip(
        np.ceil(confidence * N_CALIBRATION_BINS).astype(np.int64) - 1, 0, N_CALIBRATION_BINS - 1
    )
    gaps = np.bincount(bins, weights=right - confidence, minlength=N_CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / max(1, len(confidence)))
