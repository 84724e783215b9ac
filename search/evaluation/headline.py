"""What the ensemble that the headline is about says of each track, before and after calibration.

It is kept at the look at the test set, so that a page about it needs no second look.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from chorale.search.ledger import predictions
from chorale.search.ledger.ground_truth import Truth
from chorale.search.paths import StudyPaths
from chorale.search.statistics.arrays import Proba

if TYPE_CHECKING:
    from chorale.search.evaluation.members import Fitted

PARTS = ("out_of_fold", "calibrated_out_of_fold", "test", "calibrated_test")


@dataclass(frozen=True)
class Headline:
    """Probabilities (n_development, n_classes) and (n_test, n_classes), in the split's order.

    The calibrated out-of-fold rows are each at a temperature that was learnt on other groups.
    """

    out_of_fold: Proba
    calibrated_out_of_fold: Proba
    test: Proba
    calibrated_test: Proba


def headline(one: "Fitted", truth: Truth, *, ratio: float) -> tuple[float, Headline]:
    """The temperature of an ensemble on test rows, learnt on out-of-fold rows, and what it says.

    Args:
        one: the ensemble.
        truth: about its tracks.
        ratio: what the temperature of out-of-fold rows is multiplied by, as a mean over folds is
            more timid: `search.statistics.fold_averaging.Averaged`.
    """
    # Imported here: who only reads what was kept does not wait for it.
    from chorale.search.statistics.calibration import calibrate, honest_temperature

    labels = truth.labels(truth.split.development_ids)
    cuts = np.zeros(len(labels), np.int64) if one.nested is None else one.nested.cuts
    at, after = honest_temperature(one.out_of_fold, labels, cuts)
    at *= ratio
    return at, Headline(one.out_of_fold, after, one.test, calibrate(one.test, at))


def write_headline(paths: StudyPaths, said: Headline, truth: Truth) -> None:
    """Keeps it with the study."""
    ids = _ids(truth)
    parts = {name: predictions.Part(tuple(ids[name]), getattr(said, name)) for name in PARTS}
    predictions.write(paths.headline, parts, split=truth.split.hash)


def read_headline(paths: StudyPaths, truth: Truth) -> Headline | None:
    """What `write_headline` kept; None where a study has none, as those of older versions.

    Raises:
        UserError: the file is damaged or of another split.
    """
    if not paths.headline.is_file():
        return None
    parts = predictions.read(paths.headline, _ids(truth), split=truth.split.hash)
    return Headline(**{name: part.proba for name, part in parts.items()})


def _ids(truth: Truth) -> Mapping[str, tuple[str, ...]]:
    split = truth.split
    tests = dict.fromkeys(("test", "calibrated_test"), tuple(split.test_ids))
    return {name: tests.get(name, tuple(split.development_ids)) for name in PARTS}
