"""Measures how confident a study's ensemble is on held-out tracks, for the health of its bundle."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from chorale.search.bundle.disagreement import IN_DISTRIBUTION_SHARE
from chorale.search.evaluation.chosen_predictions import ChosenPredictions
from chorale.search.ledger.ground_truth import GroundTruth
from chorale.search.statistics.confidence import fit_confidence_reference


def confidence_field(
    predictions: ChosenPredictions | None,
    truth: GroundTruth,
    report: Mapping[str, Any],
    *,
    n_detectors: int,
) -> dict[str, Any]:
    """The manifest's field `confidence`; none without predictions, and of several labels.

    Args:
        predictions: of the bundle's ensemble. Of test rows no class is used.
        truth: of the study's tracks.
        report: the study's, for the gain of averaging over folds; 0 in those of older versions.
        n_detectors: of out-of-distribution recordings, each of which flags 1 % of others.
    """
    if predictions is None or truth.multi_label:
        return {}
    ids, test_ids = truth.split.development_ids, truth.split.test_ids
    found = fit_confidence_reference(
        predictions.calibrated_out_of_fold,
        truth.labels(ids),
        truth.groups(ids),
        gain=float(report.get("expected", {}).get("gain", 0.0)),
        served=(predictions.calibrated_test, truth.groups(test_ids)) if len(test_ids) else None,
        flagged=n_detectors * (1 - IN_DISTRIBUTION_SHARE),
    )
    return {"confidence": asdict(found)}
