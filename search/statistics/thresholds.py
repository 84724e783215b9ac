"""Thresholds of multi-label predictions: the probability of each label from which it is predicted.

They are chosen for the F1 of each label, on out-of-fold rows. Of few rows with a label the best
threshold is noise, so such labels share one.

Source: thresholds per label after Yang 2001, "A Study of Thresholding Strategies for Text
Categorization", doi:10.1145/383952.383975, who shows that those of rare labels overfit.
"""

import numpy as np
from numpy.typing import NDArray

from chorale.lightning_models.multi_label_metrics import DEFAULT_THRESHOLD
from chorale.search.statistics.arrays import Floats, Labels, Proba
from chorale.search.statistics.inner_folds import held_out_masks

Thresholds = NDArray[np.float64]
"""One for each label (n_classes,), or for each label of each row (n, n_classes)."""

MIN_ROWS = 10
"""Labels of fewer rows have the common threshold."""


def fit_thresholds(proba: Proba, labels: Labels) -> Thresholds:
    """The threshold of each label with the highest F1, (n_classes,).

    Labels of fewer than `MIN_ROWS` rows get the one with the highest F1 of all decisions.

    Args:
        proba: (n, n_classes) of rows that the model was not fitted on.
        labels: (n, n_classes) of 0 and 1.
    """
    common = _best(proba.ravel(), labels.ravel())
    return np.array(
        [
            _best(column, truth) if truth.sum() >= MIN_ROWS else common
            for column, truth in zip(proba.T, labels.T, strict=True)
        ]
    )


def cross_thresholds(proba: Proba, labels: Labels, folds: NDArray[np.int64]) -> Thresholds:
    """The thresholds of each row, (n, n_classes), each fitted on the other inner folds.

    So no row is decided by a threshold that was fitted on it, except where there is one fold.
    """
    if folds.max() == 0:
        return np.tile(fit_thresholds(proba, labels), (len(proba), 1))
    found = np.zeros(proba.shape)
    for out in held_out_masks(folds):
        found[out] = fit_thresholds(proba[~out], labels[~out])
    return found


def decide(proba: Proba, thresholds: Thresholds | None = None) -> NDArray[np.bool_]:
    """Which labels are predicted, (n, n_classes); from 0.5 on where there are no thresholds."""
    return np.asarray(proba >= (DEFAULT_THRESHOLD if thresholds is None else thresholds))


def _best(scores: Floats | Proba, truth: Labels) -> float:
    """The threshold of the highest F1, halfway to the next lower score; 0.5 without a true row."""
    n_true = int(truth.sum())
    if not n_true:
        return DEFAULT_THRESHOLD
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order].astype(np.float64)
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    f1 = 2 * np.cumsum(truth[order], dtype=np.int64)[ends] / (ends + 1 + n_true)
    best = int(np.argmax(f1))
    below = ranked[ends[best] + 1] if best + 1 < len(ends) else 0.0
    return float((ranked[ends[best]] + below) / 2)
