"""Where the headline's ensemble errs, and how sure it was: counts of what the bank keeps of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chorale.lightning_models import metrics
from chorale.search.statistics.arrays import (Labels, Proba)
from chorale.search.evaluation.headline import Headline
from chorale.search.ledger.ground_truth import Truth

N_BINS = 10
"""Of a diagram; the calibration error has finer ones, which few tracks leave half empty."""

MOST_PAIRS = 12
"""So many confused pairs of classes are told."""


@dataclass(frozen=True)
class Confused:
    """Tracks of class `true` that were taken for `said`: `n` of `n_true`."""

    true: str
    said: str
    n: int
    n_true: int


@dataclass(frozen=True)
class Bin:
    """Tracks of about the same confidence: its mean, the share that is right, and how many."""

    confidence: float
    right: float
    n: int


@dataclass(frozen=True)
class Sureness:
    """The bins of some tracks, before and after calibration."""

    name: str
    before: tuple[Bin, ...]
    after: tuple[Bin, ...]


@dataclass(frozen=True)
class Errors:
    """What one ensemble does to the tracks that it was not fitted on.

    `counts` maps "test" and "out-of-fold" to a confusion matrix (row = true class); `pairs` are
    the most confused ones of both. `sureness` is told of both kinds of tracks. `set_sizes` counts
    the test tracks by the size of their conformal set, empty where the study has none.
    """

    class_names: tuple[str, ...]
    counts: Mapping[str, tuple[tuple[int, ...], ...]]
    pairs: tuple[Confused, ...]
    sureness: tuple[Sureness, ...]
    set_sizes: Mapping[int, int]


def errors(said: Headline, truth: Truth, conformal: Mapping[str, Any] | None) -> Errors:
    """Counts them; `conformal` is what the report says of the sets."""
    split = truth.split
    test, development = truth.labels(split.test_ids), truth.labels(split.development_ids)
    matrices = {
        "test": metrics.confusion_matrix(said.test, test),
        "out-of-fold": metrics.confusion_matrix(said.out_of_fold, development),
    }
    sureness = (
        _sureness("test tracks", said.test, said.calibrated_test, test),
        _sureness("out-of-fold tracks", said.out_of_fold, said.calibrated_out_of_fold, development),
    )
    return Errors(
        truth.class_names,
        {key: tuple(tuple(map(int, row)) for row in m) for key, m in matrices.items()},
        _pairs(sum(matrices.values()), truth.class_names),
        sureness,
        {} if conformal is None else _set_sizes(said.calibrated_test, conformal["least_proba"]),
    )


def reliability(proba: Proba, labels: Labels) -> tuple[Bin, ...]:
    """Tracks by their confidence, in `N_BINS` equal bins of (0, 1]; empty ones are left out."""
    confidence = proba.max(axis=1).astype(np.float64)
    right = proba.argmax(axis=1) == labels
    bins = np.clip(np.ceil(confidence * N_BINS).astype(np.int64) - 1, 0, N_BINS - 1)
    return tuple(
        Bin(float(confidence[at].mean()), float(right[at].mean()), int(at.sum()))
        for at in (bins == number for number in range(N_BINS))
        if at.any()
    )


def _sureness(name: str, before: Proba, after: Proba, labels: Labels) -> Sureness:
    return Sureness(name, reliability(before, labels), reliability(after, labels))


def _pairs(counts: Any, names: Sequence[str]) -> tuple[Confused, ...]:
    found = [
        Confused(names[i], names[j], int(counts[i, j]), int(counts[i].sum()))
        for i, j in np.argwhere(counts)
        if i != j
    ]
    return tuple(sorted(found, key=lambda one: (-one.n, one.n_true, one.true))[:MOST_PAIRS])


def _set_sizes(proba: Proba, least_proba: float) -> dict[int, int]:
    """Size of the set -> how many tracks; no set is empty."""
    sizes = np.maximum((proba >= least_proba).sum(axis=1), 1)
    return {
        int(size): int(n) for size, n in zip(*np.unique(sizes, return_counts=True), strict=True)
    }
