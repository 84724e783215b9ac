"""The baselines of a study on disk: written once they are fitted, read by a resumed sweep.

They are the first result of a sweep, so that one that is interrupted has a model already.
"""

import json
from collections.abc import Mapping
from typing import Any

from chorale.datasets.atomic import write_json
from chorale.datasets.errors import UserError
from chorale.datasets.splitting.split import Split
from chorale.search.baselines.baseline_file import FittedBaseline, read_baseline, write_baseline
from chorale.search.baselines.classifiers import GRIDS
from chorale.search.baselines.fitted_baselines import Baseline, Baselines
from chorale.search.baselines.track_statistics import StatisticsLayout
from chorale.search.ledger.baseline_predictions import (
    BaselinePredictions,
    read_baseline_predictions,
    write_baseline_predictions,
)
from chorale.search.paths import StudyPaths


def write_baselines(
    paths: StudyPaths,
    baselines: Baselines,
    split: Split,
    *,
    features_configs: Mapping[str, Mapping[str, Any]],
    n_classes: int,
    multi_label: bool,
) -> None:
    """Writes fitted models and predictions, and last the list that makes them count.

    `features_configs` maps each feature set that a baseline reads to its config.
    """
    for one in baselines.fitted:
        fitted = FittedBaseline(
            one.name,
            one.features or baselines.features,
            features_configs.get(one.features or baselines.features, {}),
            one.layout or baselines.layout,
            one.params["statistics"],
            one.temperature,
            n_classes,
            one.arrays,
            multi_label,
        )
        write_baseline(paths.fitted_baseline(one.name), fitted)
        predictions = BaselinePredictions(one.oof_proba, one.test_proba, one.test_by_fold)
        write_baseline_predictions(
            paths.baseline(one.name), predictions, split, multi_label=multi_label
        )
    listed = {
        "split": split.hash,
        "features": baselines.features,
        "layout": baselines.layout.as_dict(),
        "params": {one.name: dict(one.params) for one in baselines.fitted},
        "left_out": baselines.left_out,
        "spent_s": baselines.spent_s,
        "limit_s": baselines.as_dict()["limit_s"],
        "feature_accuracies": dict(baselines.feature_accuracies),
    }
    write_json(paths.baselines_json, listed)


def read_baselines(paths: StudyPaths, split: Split) -> Baselines | None:
    """The baselines that an earlier run of the study fitted on the same split.

    None where there are none, or where a file is missing or damaged: they can be fitted again.
    """
    try:
        listed = json.loads(paths.baselines_json.read_text(encoding="utf-8"))
        if listed["split"] != split.hash:
            return None
        return Baselines(
            [_read(paths, split, name, params) for name, params in listed["params"].items()],
            listed["features"],
            StatisticsLayout(**listed["layout"]),
            listed["left_out"],
            listed["spent_s"],
            float("inf") if listed["limit_s"] is None else listed["limit_s"],
            listed["feature_accuracies"],
        )
    except (OSError, ValueError, KeyError, TypeError, UserError):
        return None


def _read(paths: StudyPaths, split: Split, name: str, params: Mapping[str, Any]) -> Baseline:
    fitted = read_baseline(paths.fitted_baseline(name))
    stored = read_baseline_predictions(paths.baseline(name), split)
    return Baseline(
        name,
        params,
        stored.out_of_fold,
        stored.test,
        fitted.temperature,
        fitted.arrays,
        stored.test_by_fold,
        fitted.features,
        fitted.layout,
    )


def baseline_names(paths: StudyPaths) -> list[str]:
    """The names of a study's baselines; those of `GRIDS` where no list of them can be read."""
    try:
        return list(json.loads(paths.baselines_json.read_text(encoding="utf-8"))["params"])
    except (OSError, ValueError, KeyError, TypeError):
        return list(GRIDS)
