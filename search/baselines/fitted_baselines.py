"""Fitted baselines: what `search.baselines.baselines` gives, and everything behind it reads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorale.search.baselines.fitted_classifier import ClassifierArrays
from chorale.search.baselines.names import split_name
from chorale.search.baselines.track_statistics import StatisticsLayout


@dataclass(frozen=True)
class Baseline:
    """One classifier with the parameters that did best out of fold, and its predictions.

    `oof_proba` is float32 (n_development, n_classes), in the order of `split.development_ids`,
    each row by a model that was trained on the other folds. Its parameters and temperature were
    chosen on the other folds, too, so they may differ from `params`.

    `test_proba` is float32 (n_test, n_classes), in the order of `split.test_ids`, by a model
    trained on all of `split.trained_ids`. `arrays` hold that model (see
    `search.baselines.fitted_classifier`); its scores are divided by `temperature`.

    `test_by_fold` (n_folds, n_test, n_classes) are the test predictions of the models behind
    `oof_proba`; it is empty in studies of older versions, which did not keep it.

    It reads the columns that `params["statistics"]` names of the rows that `layout` describes, of
    the feature set `features`. Both are left out where only predictions are known.
    """

    name: str
    params: Mapping[str, Any]
    oof_proba: NDArray[np.float32]
    test_proba: NDArray[np.float32]
    temperature: float = 1.0
    arrays: ClassifierArrays = field(default_factory=dict)
    test_by_fold: tuple[NDArray[np.float32], ...] = ()
    features: str = ""
    layout: StatisticsLayout | None = None


@dataclass(frozen=True)
class Baselines:
    """All fitted baselines, the feature set chosen for them, and what the time did not allow.

    The set `features` has all classifiers; others, which are in the baselines' names, have those
    of `classifiers.ON_EVERY_EMBEDDING`.

    `left_out` are lines for people. `spent_s` is the time of all fits together, of which `limit_s`
    was allowed. `feature_accuracies` maps each candidate feature set to the out-of-fold accuracy of
    logistic regression, by which one was chosen; it is empty where there was only one. `slowdown`
    is how many seconds passed for a second of the processor, 1 where no other program wanted it.
    """

    fitted: list[Baseline]
    features: str
    layout: StatisticsLayout
    left_out: list[str]
    spent_s: float
    limit_s: float
    feature_accuracies: Mapping[str, float] = field(default_factory=dict)
    slowdown: float = 1.0

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready facts for the report on how they were fitted."""
        others = list(dict.fromkeys(split_name(one.name)[1] for one in self.fitted))
        others = [features for features in others if features]
        return {
            "features": self.features,
            "why": self.why,
            "left_out": self.left_out,
            "spent_s": self.spent_s,
            "limit_s": None if np.isinf(self.limit_s) else self.limit_s,
            **({"other_features": others} if others else {}),
        }

    @property
    def why(self) -> str:
        """The reason for the choice of the feature set."""
        if not self.feature_accuracies:
            return "the only feature set that they can read"
        each = ", ".join(f"{name} {share:.1%}" for name, share in self.feature_accuracies.items())
        return f"logistic regression is best with it out of fold: {each}"
