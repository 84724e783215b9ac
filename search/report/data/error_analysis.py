"""Error analysis of the chosen ensemble: confusion matrices, reliability bins, conformal set sizes.

All of it is counted from the predictions that were stored when the test set was evaluated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chorale.lightning_models import metrics
from chorale.search.evaluation.chosen_predictions import ChosenPredictions
from chorale.search.ledger.ground_truth import GroundTruth
from chorale.search.statistics.arrays import Labels, Proba

N_RELIABILITY_BINS = 10
"""Bins of the diagram; the calibration error uses finer ones, many of them empty."""

MAX_CONFUSED_PAIRS = 12
"""Rows of the table of confused classes."""


@dataclass(frozen=True)
class ConfusedPair:
    """`n` of the `n_true` tracks of class `true` are predicted as class `predicted`."""

    true: str
    predicted: str
    n: int
    n_true: int


@dataclass(frozen=True)
class ConfidenceBin:
    """Tracks of similar confidence: mean confidence, `right` = their accuracy, and their number."""

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
    """

    class_names: tuple[str, ...]
    counts: Mapping[str, tuple[tuple[int, ...], ...]]
    pairs: tuple[ConfusedPair, ...]
    reliability: tuple[CalibrationBins, ...]
    set_sizes: Mapping[int, int]


def error_analysis(
    predictions: ChosenPredictions, truth: GroundTruth, conformal: Mapping[str, Any] | None
) -> ErrorAnalysis:
    """Counts the errors; `conformal` is the report's entry of that name."""
    split = truth.split
    test, development = truth.labels(split.test_ids), truth.labels(split.development_ids)
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
        {key: tuple(tuple(map(int, row)) for row in m) for key, m in matrices.items()},
        _confused_pairs(sum(matrices.values()), truth.class_names),
        reliability,
        {} if conformal is None else _set_sizes(after_test, conformal["least_proba"]),
    )


def reliability_bins(proba: Proba, labels: Labels) -> tuple[ConfidenceBin, ...]:
    """Tracks by confidence in `N_RELIABILITY_BINS` equal bins of (0, 1], without empty bins."""
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


def _set_sizes(proba: Proba, least_proba: float) -> dict[int, int]:
    """Size of the conformal set -> number of tracks; a set holds at least one class."""
    sizes = np.maximum((proba >= least_proba).sum(axis=1), 1)
    return {
        int(size): int(n) for size, n in zip(*np.unique(sizes, return_counts=True), strict=True)
    }
