"""Metrics of multi-label probabilities: average precision (mAP), lwlrap, F1 of each label.

Probabilities are (n, n_classes), each label's own; labels are (n, n_classes) of 0 and 1, or
`UNKNOWN` (see `datasets.label_sets`): such pairs of a row and a label are in no metric.
"""

import numpy as np
from numpy.typing import NDArray

from chorale.datasets.label_sets import is_known, is_present
from chorale.lightning_models.metrics import Labels, Proba, accuracy

DEFAULT_THRESHOLD = 0.5
"""The probability from which a label is predicted, where none was chosen for it."""


def main_score(proba: Proba, labels: Labels) -> float:
    """The score by which models are compared: the accuracy, or of multi-label ones the mAP.

    Args:
        proba: (n, n_classes).
        labels: (n,), class indices, or (n, n_classes) of 0 and 1.
    """
    return mean_average_precision(proba, labels) if labels.ndim == 2 else accuracy(proba, labels)


def mean_average_precision(
    proba: Proba, labels: Labels, *, scored: NDArray[np.bool_] | None = None
) -> float:
    """The mean over labels of `average_precisions` (macro mAP); labels without a row do not count.

    With `scored` (n_classes,) only labels of that mask count. 0 where none counts.
    """
    found = average_precisions(proba, labels)
    counts = np.isfinite(found) if scored is None else np.isfinite(found) & scored
    return float(found[counts].mean()) if counts.any() else 0.0


def average_precisions(proba: Proba, labels: Labels) -> NDArray[np.float64]:
    """The average precision of each label, (n_classes,); NaN for a label that no row has.

    The mean over the rows with the label, of the precision among all known rows that are as
    probable or more: ties count against it, as in scikit-learn. At random it is the share of rows
    with it.

    Source: Zhu 2004, "Recall, Precision and Average Precision", University of Waterloo.
    """
    return np.array(
        [
            _average_precision(column[known], truth[known])
            for column, truth, known in zip(
                proba.T, is_present(labels).T, is_known(labels).T, strict=True
            )
        ]
    )


def _average_precision(scores: Proba, truth: NDArray[np.bool_]) -> float:
    n_true = int(truth.sum())
    if not n_true:
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)  # the last of a tie
    hits = np.cumsum(truth[order])[ends]
    return float(np.diff(hits, prepend=0) @ (hits / (ends + 1)) / n_true)


def lwlrap(proba: Proba, labels: Labels) -> float:
    """Label-weighted label-ranking average precision; 0 where no row has a label.

    For each label of each row: of the labels that are as probable there or more, the share that the
    row has. The mean over all of them.

    Source: Fonseca et al. 2019, "Audio tagging with noisy labels and minimal supervision", DCASE,
    https://arxiv.org/abs/1906.02975.
    """
    present, known = is_present(labels), is_known(labels)
    rows, columns = np.nonzero(present)
    if not len(rows):
        return 0.0
    above = (proba[rows] >= proba[rows, columns][:, None]) & known[rows]
    return float(np.mean((above & present[rows]).sum(axis=1) / above.sum(axis=1)))


def label_f1(decisions: NDArray[np.bool_], labels: Labels) -> NDArray[np.float64]:
    """The F1 of each label, (n_classes,), of decisions (n, n_classes).

    0 for a label that is only among the decisions or only among the labels; NaN for one that is in
    neither.
    """
    present = is_present(labels)
    hits = (decisions & present).sum(axis=0)
    total = (decisions & is_known(labels)).sum(axis=0) + present.sum(axis=0)
    found = np.full(len(total), np.nan)
    np.divide(2.0 * hits, total, out=found, where=total > 0)
    return found


def macro_label_f1(
    decisions: NDArray[np.bool_], labels: Labels, *, scored: NDArray[np.bool_] | None = None
) -> float:
    """The mean of `label_f1`; labels in neither, or outside the mask `scored`, do not count."""
    found = label_f1(decisions, labels)
    counts = np.isfinite(found) if scored is None else np.isfinite(found) & scored
    return float(found[counts].mean()) if counts.any() else 0.0


def micro_f1(decisions: NDArray[np.bool_], labels: Labels) -> float:
    """The F1 of all decisions together; 0 where there is neither a label nor a decision for one."""
    present = is_present(labels)
    total = int((decisions & is_known(labels)).sum()) + int(present.sum())
    return 2.0 * int((decisions & present).sum()) / total if total else 0.0
