"""Thresholds of multi-label predictions: the probability of each label from which it is predicted.

They are chosen for the F1 of each label, on out-of-fold rows. Of few rows with a label the best
threshold is mostly noise, so it is shrunk towards the best common one: in the simulation of
`tests/benchmarks/bench_statistics.py` unshrunk ones had a lower F1 on new rows than the common one
alone in corpora of 200 tracks and less, and shrunk ones have a higher one in all.

Source: thresholds per label after Yang 2001, "A Study of Thresholding Strategies for Text
Categorization", doi:10.1145/383952.383975, who shows that those of rare labels overfit.
"""

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.label_sets import is_known, is_present
from chorale.lightning_models.multi_label_metrics import DEFAULT_THRESHOLD
from chorale.search.statistics.arrays import Floats, Labels, Proba
from chorale.search.statistics.inner_folds import held_out_masks
from chorale.search.statistics.softmax import sigmoid

Thresholds = NDArray[np.float64]
"""One for each label (n_classes,), or for each label of each row (n, n_classes)."""

COMMON_ROWS = 20
"""The rows with a label that the common threshold is worth. In the simulation 10 to 40 are about
equally good, for 50 to 1,500 tracks."""

LEAST_PROBA = 1e-6
"""Thresholds are averaged as log-odds, for which they are kept this far from 0 and 1."""


def fit_thresholds(proba: Proba, labels: Labels) -> Thresholds:
    """The threshold of each label with the highest F1, (n_classes,).

    Averaged, as log-odds, with the one with the highest F1 of all decisions, which counts as much
    as `COMMON_ROWS` rows with the label.

    Args:
        proba: (n, n_classes) of rows that the model was not fitted on.
        labels: (n, n_classes) of 0 and 1; unknown ones do not count.
    """
    known, present = is_known(labels), is_present(labels)
    common = _best(proba[known], present[known])
    columns = zip(proba.T, present.T, known.T, strict=True)
    each = [_best(column[there], truth[there]) for column, truth, there in columns]
    n_rows = present.sum(axis=0)
    mean = (n_rows * _log_odds(each) + COMMON_ROWS * _log_odds(common)) / (n_rows + COMMON_ROWS)
    return np.asarray(sigmoid(mean))


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


def labels_above(proba: Proba, thresholds: Thresholds | None = None) -> NDArray[np.bool_]:
    """Which labels are predicted, (n, n_classes); from 0.5 on where there are no thresholds."""
    return np.asarray(proba >= (DEFAULT_THRESHOLD if thresholds is None else thresholds))


def _log_odds(proba: Floats | list[float] | float) -> Floats:
    inside = np.clip(proba, LEAST_PROBA, 1 - LEAST_PROBA)
    return np.asarray(np.log(inside / (1 - inside)))


def _best(scores: Floats | Proba, truth: NDArray[np.bool_]) -> float:
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
