"""Error analysis of the chosen ensemble: confusion matrices, reliability bins, conformal set sizes.

All of it is counted from the predictions that were stored when the test set was evaluated. Where
tracks have several labels, the matrices are those of `label_confusion`, and the reliability bins
count decisions, one for each label of each track.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chorale.datasets.label_sets import is_known, is_present
from chorale.lightning_models import metrics
from chorale.search.evaluation.chosen_predictions import ChosenPredictions
from chorale.search.ledger.ground_truth import GroundTruth
from chorale.search.statistics.arrays import Labels, Proba
from chorale.search.statistics.label_confusion import LabelConfusion, label_confusion

Matrix = tuple[tuple[int, ...], ...]

N_RELIABILITY_BINS = 10
"""Bins of the diagram; the calibration error uses finer ones, many of them empty."""

MAX_CONFUSED_PAIRS = 12
"""Rows of the table of confused classes."""


@dataclass(frozen=True)
class ConfusedPair:
    """`n` of the `n_true` tracks of class `true` are predicted as class `predicted`.

    Where tracks have several labels, `n_true` are those with the label `true` and without the label
    `predicted`, and `usual` is the share of all tracks without it where it is predicted.
    """

    true: str
    predicted: str
    n: int
    n_true: int
    usual: float | None = None

    @property
    def usual_n(self) -> float:
        """The number of tracks to expect from `usual`."""
        return (self.usual or 0.0) * self.n_true


@dataclass(frozen=True)
class ConfidenceBin:
    """Tracks of similar confidence: mean confidence, `right` = their accuracy, and their number.

    Where tracks have several labels: decisions of similar probability, `right` = the share of them
    whose label is present.
    """

    confidence: float
    right: float
    n: int


@dataclass(frozen=True)
class CalibrationBins:
    """Reliability bins of one set of tracks, before and after calibration."""

    name: str
    before: tuple[ConfidenceBin, ...]
    after: tuple[ConfidenceBin, ...]


@dataclass(frozen=True)
class ErrorAnalysis:
    """The errors of one ensemble on test and out-of-fold tracks.

    `counts` maps "test" and "out-of-fold" to a confusion matrix (row = true class), `pairs` are the
    most confused classes of both together, `reliability` holds the bins of each. `set_sizes` maps
    the size of a conformal set to the number of test tracks, empty without conformal sets.
    `totals` is what each count is a share of, where tracks have several labels; else None, and a
    count is a share of its row.
    """

    class_names: tuple[str, ...]
    counts: Mapping[str, Matrix]
    pairs: tuple[ConfusedPair, ...]
    reliability: tuple[CalibrationBins, ...]
    set_sizes: Mapping[int, int]
    totals: Mapping[str, Matrix] | None = None


def error_analysis(
    predictions: ChosenPredictions, truth: GroundTruth, report: Mapping[str, Any]
) -> ErrorAnalysis:
    """Counts the errors.

    Args:
        predictions: of the chosen ensemble.
        truth: of all tracks.
        report: the content of `report.json`, for the conformal sets and the thresholds of labels.
    """
    split = truth.split
    test, development = truth.labels(split.test_ids), truth.labels(split.development_ids)
    conformal = report.get("conformal")
    if truth.multi_label:
        return _label_error_analysis(predictions, truth, report)
    matrices = {
        "test": metrics.confusion_matrix(predictions.test, test),
        "out-of-fold": metrics.confusion_matrix(predictions.out_of_fold, development),
    }
    after_test, after_oof = predictions.calibrated_test, predictions.calibrated_out_of_fold
    reliability = (
        _calibration_bins("test tracks", predictions.test, after_test, test),
        _calibration_bins("out-of-fold tracks", predictions.out_of_fold, after_oof, development),
    )
    return ErrorAnalysis(
        truth.class_names,
        {key: _matrix(m) for key, m in matrices.items()},
        _confused_pairs(sum(matrices.values()), truth.class_names),
        reliability,
        {} if conformal is None else _set_sizes(after_test, conformal["least_proba"], least=1),
    )


def _label_error_analysis(
    predictions: ChosenPredictions, truth: GroundTruth, report: Mapping[str, Any]
) -> ErrorAnalysis:
    """`error_analysis` of tracks of several labels.

    Test rows are decided at the report's thresholds, out-of-fold rows at those of other groups.
    """
    # imported here: slow, and not needed for tracks of one class
    from chorale.search.evaluation.label_thresholds import development_thresholds
    from chorale.search.statistics.thresholds import labels_above

    split, names = truth.split, truth.class_names
    test, development = truth.labels(split.test_ids), truth.labels(split.development_ids)
    after_test, after_oof = predictions.calibrated_test, predictions.calibrated_out_of_fold
    thresholds = np.array([report["thresholds"][name] for name in names])
    held_out = development_thresholds(after_oof, truth, seed=int(report.get("seed", 0)))
    chosen = {
        "test": labels_above(after_test, thresholds),
        "out-of-fold": labels_above(after_oof, held_out),
    }
    found = {
        "test": label_confusion(chosen["test"], test),
        "out-of-fold": label_confusion(chosen["out-of-fold"], development),
    }
    both = LabelConfusion(
        sum((one.counts for one in found.values()), np.zeros(1, np.int64)),
        sum((one.totals for one in found.values()), np.zeros(1, np.int64)),
    )
    absent = np.concatenate([test, development]) == 0
    wrong = (np.concatenate([chosen["test"], chosen["out-of-fold"]]) & absent).sum(axis=0)
    conformal = report.get("conformal")
    return ErrorAnalysis(
        names,
        {key: _matrix(one.counts) for key, one in found.items()},
        _confused_labels(both, names, wrong / np.maximum(absent.sum(axis=0), 1)),
        (
            _calibration_bins("decisions on test tracks", predictions.test, after_test, test),
            _calibration_bins(
                "decisions on out-of-fold tracks", predictions.out_of_fold, after_oof, development
            ),
        ),
        {} if conformal is None else _set_sizes(after_test, conformal["least_proba"], least=0),
        {key: _matrix(one.totals) for key, one in found.items()},
    )


def reliability_bins(proba: Proba, labels: Labels) -> tuple[ConfidenceBin, ...]:
    """Tracks by confidence in `N_RELIABILITY_BINS` equal bins of (0, 1], without empty bins.

    Where `labels` are (n, n_classes): each known label of each track, by its probability.
    """
    if labels.ndim == 2:
        known = is_known(labels)
        confidence, right = proba[known].astype(np.float64), is_present(labels)[known]
    else:
        confidence = proba.max(axis=1).astype(np.float64)
        right = proba.argmax(axis=1) == labels
    last = N_RELIABILITY_BINS - 1
    bins = np.clip(np.ceil(confidence * N_RELIABILITY_BINS).astype(np.int64) - 1, 0, last)
    return tuple(
        ConfidenceBin(float(confidence[at].mean()), float(right[at].mean()), int(at.sum()))
        for at in (bins == number for number in range(N_RELIABILITY_BINS))
        if at.any()
    )


def _calibration_bins(name: str, before: Proba, after: Proba, labels: Labels) -> CalibrationBins:
    return CalibrationBins(name, reliability_bins(before, labels), reliability_bins(after, labels))


def _confused_pairs(counts: Any, names: Sequence[str]) -> tuple[ConfusedPair, ...]:
    pairs = [
        ConfusedPair(names[i], names[j], int(counts[i, j]), int(counts[i].sum()))
        for i, j in np.argwhere(counts)
        if i != j
    ]
    return tuple(sorted(pairs, key=lambda one: (-one.n, one.n_true, one.true))[:MAX_CONFUSED_PAIRS])


def _confused_labels(
    found: LabelConfusion, names: Sequence[str], usual: np.ndarray
) -> tuple[ConfusedPair, ...]:
    """The labels that are predicted wrongly more often beside another one than elsewhere.

    Sorted by the number of tracks that are more than `usual`, the share (n_classes,) of all tracks
    without each label where it is predicted.
    """
    pairs = [
        ConfusedPair(
            names[i], names[j], int(found.counts[i, j]), int(found.totals[i, j]), float(usual[j])
        )
        for i, j in np.argwhere(found.counts > usual * found.totals)
        if i != j
    ]
    ranked = sorted(pairs, key=lambda one: (one.usual_n - one.n, one.true, one.predicted))
    return tuple(ranked[:MAX_CONFUSED_PAIRS])


def _matrix(counts: np.ndarray) -> Matrix:
    return tuple(tuple(map(int, row)) for row in counts)


def _set_sizes(proba: Proba, least_proba: float, *, least: int) -> dict[int, int]:
    """Size of the conformal set -> number of tracks; a set holds at least `least` classes."""
    sizes = np.maximum((proba >= least_proba).sum(axis=1), least)
    return {
        int(size): int(n) for size, n in zip(*np.unique(sizes, return_counts=True), strict=True)
    }
