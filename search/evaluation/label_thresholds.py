"""The thresholds of multi-label predictions in the final evaluation, and the scores at them.

Thresholds are chosen on out-of-fold rows, never on the test set; out-of-fold rows themselves are
decided by thresholds of other groups. `search.evaluation.final_evaluation` calls this.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from chorale.datasets.label_sets import is_known, is_present
from chorale.datasets.seeds import Purpose, derive_seed
from chorale.lightning_models.metrics import expected_calibration_error
from chorale.lightning_models.multi_label_metrics import average_precisions
from chorale.search.evaluation.members import score_rows
from chorale.search.ledger.ground_truth import GroundTruth
from chorale.search.statistics.arrays import Labels, Proba
from chorale.search.statistics.inner_folds import inner_folds
from chorale.search.statistics.thresholds import (
    Thresholds,
    cross_thresholds,
    fit_thresholds,
    labels_above,
)


def development_thresholds(out_of_fold: Proba, truth: GroundTruth, *, seed: int) -> Thresholds:
    """The thresholds (n_development, n_classes) of out-of-fold rows, each of other groups."""
    ids = truth.split.development_ids
    labels, groups = truth.labels(ids), truth.groups(ids)
    folds = inner_folds(labels, groups, seed=derive_seed(seed, Purpose.THRESHOLDS))
    return cross_thresholds(out_of_fold, labels, folds)


def score_parts(
    parts: dict[str, tuple[Proba, Sequence[str]]],
    out_of_fold: Proba,
    truth: GroundTruth,
    *,
    seed: int,
) -> dict[str, dict[str, Any]]:
    """The scores of several parts of a model's predictions: "validation", "out_of_fold", "test".

    Args:
        parts: name -> probabilities and the tracks that they are of.
        out_of_fold: the model's out-of-fold predictions, on which thresholds are chosen.
        truth: of all tracks.
        seed: of the folds of thresholds.
    """
    if not truth.multi_label:
        return {name: score_rows(proba, ids, truth) for name, (proba, ids) in parts.items()}
    ids = truth.split.development_ids
    row_of = {track: row for row, track in enumerate(ids)}
    held_out = development_thresholds(out_of_fold, truth, seed=seed)
    final = fit_thresholds(out_of_fold, truth.labels(ids))
    return {
        name: score_rows(
            proba,
            tracks,
            truth,
            thresholds=held_out[[row_of[track] for track in tracks]] if name != "test" else final,
        )
        for name, (proba, tracks) in parts.items()
    }


def label_scores(
    proba: Proba, labels: Labels, names: Sequence[str], thresholds: Thresholds
) -> dict[str, dict[str, Any]]:
    """Each label's scores by name, JSON-ready; undefined values are None.

    `n` tracks with the label of the `n_known` where it is known, `average_precision`, `threshold`,
    and at it `precision`, `recall` and `f1`; `ece` is the calibration error of its probability.

    Args:
        proba: (n, n_classes).
        labels: (n, n_classes) of 0, 1 and `UNKNOWN`.
        names: of the labels.
        thresholds: (n_classes,).
    """
    precisions = average_precisions(proba, labels)
    known, present = is_known(labels), is_present(labels)
    chosen = labels_above(proba, thresholds) & known
    found = {}
    for i, name in enumerate(names):
        n, n_chosen = int(present[:, i].sum()), int(chosen[:, i].sum())
        hits = int((chosen[:, i] & present[:, i]).sum())
        found[name] = {
            "n": n,
            "n_known": int(known[:, i].sum()),
            "average_precision": float(precisions[i]) if np.isfinite(precisions[i]) else None,
            "threshold": float(thresholds[i]),
            "precision": hits / n_chosen if n_chosen else None,
            "recall": hits / n if n else None,
            "f1": 2 * hits / (n + n_chosen) if n + n_chosen else None,
            "ece": expected_calibration_error(proba[:, [i]], labels[:, [i]])
            if known[:, i].any()
            else None,
        }
    return found
