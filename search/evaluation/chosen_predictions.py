"""The chosen ensemble's predictions for each track, before and after calibration, on disk.

The chosen ensemble is the one whose test score the report states. They are written when the test
set is evaluated, so that report pages need no second evaluation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from chorale.search.ledger.ground_truth import GroundTruth
from chorale.search.ledger.predictions import (
    PredictionPart,
    read_predictions,
    write_predictions,
)
from chorale.search.paths import StudyPaths
from chorale.search.statistics.arrays import Proba

if TYPE_CHECKING:
    from chorale.search.evaluation.members import FittedEnsemble

PART_NAMES = ("out_of_fold", "calibrated_out_of_fold", "test", "calibrated_test")


@dataclass(frozen=True)
class ChosenPredictions:
    """Probabilities (n_development, n_classes) and (n_test, n_classes), in the split's order.

    Each calibrated out-of-fold row is at a temperature that was fitted on other groups.
    """

    out_of_fold: Proba
    calibrated_out_of_fold: Proba
    test: Proba
    calibrated_test: Proba


def chosen_predictions(
    one: "FittedEnsemble", truth: GroundTruth, *, ratio: float
) -> tuple[float, ChosenPredictions]:
    """An ensemble's temperature on test rows, fitted out of fold, and its predictions.

    Args:
        one: the ensemble.
        truth: of its tracks.
        ratio: by which the temperature of out-of-fold rows is multiplied, as a mean over folds is
            less confident: `search.statistics.fold_averaging.FoldAveraging`.
    """
    # imported here: slow, and not needed to read predictions
    from chorale.search.statistics.calibration import calibrate, validated_temperature

    labels = truth.labels(truth.split.development_ids)
    folds = np.zeros(len(labels), np.int64) if one.nested is None else one.nested.folds
    temperature, after = validated_temperature(one.out_of_fold, labels, folds)
    temperature *= ratio
    return temperature, ChosenPredictions(
        one.out_of_fold,
        after,
        one.test,
        calibrate(one.test, temperature, multi_label=truth.multi_label),
    )


def write_chosen_predictions(
    paths: StudyPaths, chosen: ChosenPredictions, truth: GroundTruth
) -> None:
    """Writes them into the study's folder."""
    ids = _ids(truth)
    parts = {name: PredictionPart(tuple(ids[name]), getattr(chosen, name)) for name in PART_NAMES}
    write_predictions(
        paths.chosen_predictions, parts, split=truth.split.hash, multi_label=truth.multi_label
    )


def read_chosen_predictions(paths: StudyPaths, truth: GroundTruth) -> ChosenPredictions | None:
    """Reads what `write_chosen_predictions` wrote; None for a study of an older version.

    Raises:
        UserError: the file is damaged or of another split.
    """
    if not paths.chosen_predictions.is_file():
        return None
    parts = read_predictions(paths.chosen_predictions, _ids(truth), split=truth.split.hash)
    return ChosenPredictions(**{name: part.proba for name, part in parts.items()})


def _ids(truth: GroundTruth) -> Mapping[str, tuple[str, ...]]:
    split = truth.split
    tests = dict.fromkeys(("test", "calibrated_test"), tuple(split.test_ids))
    return {name: tests.get(name, tuple(split.development_ids)) for name in PART_NAMES}
