import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from chorale.lightning_models.metrics import Proba
from chorale.search.evaluation import final_evaluation
from chorale.search.paths import StudyPaths
from chorale.search.report import report
from chorale.search.report.page import sentences
from chorale.search.statistics.expected_accuracy import Expected, expected_accuracy
from chorale.search.statistics.fold_averaging import Averaged

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(400, 4)) + 0.7 * RNG.normal(size=(3, 400, 4))
BY_FOLD = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=-1, keepdims=True)
NAMED = BY_FOLD[0].argmax(axis=1)


def expect(
    share: float, *, by_fold: Proba = BY_FOLD, configuration: float = 0.0, kind: float = 0.0
) -> tuple[Expected, Averaged]:
    """Of an ensemble that is right on this share of its out-of-fold rows."""
    labels = np.where(np.arange(len(NAMED)) < share * len(NAMED), NAMED, (NAMED + 1) % 4)
    return expected_accuracy(
        BY_FOLD[0],
        labels,
        by_fold,
        by_fold.mean(axis=0),
        configuration_bias=configuration,
        kind_bias=kind,
    )


def test_what_is_expected_is_the_out_of_fold_accuracy_with_its_gain_less_biases() -> None:
    found, averaged = expect(0.6, configuration=0.03, kind=0.01)
    assert found.gain == averaged.gain > 0.01
    assert found.accuracy == pytest.approx(0.6 + found.gain - 0.03 - 0.01)
    parts = {"out_of_fold", "gain", "configuration_bias", "kind_bias"}
    assert found.as_dict().keys() == {"accuracy", *parts, "n_folds"}
    assert found.n_folds == 3


@pytest.mark.parametrize("out_of_fold", [0.0, 0.01, 0.99, 1.0])
@pytest.mark.parametrize("bias", [0.0, 0.2])
def test_no_bias_is_more_than_there_was_and_nothing_passes_one(
    out_of_fold: float, bias: float
) -> None:
    found, _ = expect(out_of_fold, configuration=0.03, kind=bias)
    assert 0 <= found.accuracy <= 1
    assert found.configuration_bias + found.kind_bias <= out_of_fold


def test_what_says_the_same_by_each_fold_gains_nothing() -> None:
    found, averaged = expect(0.6, by_fold=np.repeat(BY_FOLD[:1], 3, axis=0))
    assert found.accuracy == pytest.approx(0.6, abs=1e-3)
    assert averaged.temperature_ratio == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("weights", "part"),
    [({3: 1.0, 5: 1.0}, 1.0), ({3: 1.0, "svm": 3.0}, 0.25), ({"svm": 1.0}, 0.0)],
)
def test_no_search_chose_the_baselines(weights: dict[int | str, float], part: float) -> None:
    one: Any = SimpleNamespace(weights=weights)
    assert final_evaluation._part_of_trials(one) == part


def test_the_page_tells_what_was_added_and_what_was_taken_off() -> None:
    told, _ = expect(0.6, configuration=0.03, kind=0.01)
    page = sentences.optimism({"ensemble": {}, "expected": told.as_dict()})
    assert f"was {told.accuracy:.1%}: 60.0% out of fold, and {100 * told.gain:.1f} points" in page
    assert "3.0 points of selection bias were taken off: configurations" in page
    assert "1.0 points of selection bias were taken off: the ensemble" in page
    members = {"members": [3, "svm"]}
    page = sentences.optimism({"ensemble": members, "expected": told.as_dict()})
    assert "for the mean of 3 networks a trial and baselines that learn from all" in page
    page = sentences.optimism({"ensemble": {"members": ["svm"]}, "expected": told.as_dict()})
    assert "points for baselines that learn from all development tracks" in page
    plain, _ = expect(0.6)
    assert "bias" not in sentences.optimism({"ensemble": {}, "expected": plain.as_dict()})
    older = {"accuracy": 0.65, "out_of_fold": 0.6, "gain": 0.05, "n_folds": 3}
    assert "was 65.0%" in sentences.optimism({"ensemble": {}, "expected": older})


@pytest.mark.parametrize("newer", [{}, {"expected": {"accuracy": 0.7}}])
def test_reports_of_older_versions_are_read(tmp_path: Path, newer: dict[str, Any]) -> None:
    paths = StudyPaths(tmp_path)
    paths.report_json.write_text(json.dumps({"foretold": {"accuracy": 0.6}, **newer}))
    assert report.read(paths) == {"expected": {"accuracy": 0.6}, **newer}
