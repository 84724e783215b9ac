"""The expected test accuracy: out-of-fold accuracy plus gain minus selection biases."""

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
from chorale.search.statistics.expected_accuracy import ExpectedAccuracy, expected_accuracy
from chorale.search.statistics.fold_averaging import FoldAveraging

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(400, 4)) + 0.7 * RNG.normal(size=(3, 400, 4))
BY_FOLD = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=-1, keepdims=True)
NAMED = BY_FOLD[0].argmax(axis=1)


def expect(
    share: float, *, by_fold: Proba = BY_FOLD, configuration: float = 0.0, kind: float = 0.0
) -> tuple[ExpectedAccuracy, FoldAveraging]:
    """The estimate for an ensemble that is right on this share of its out-of-fold rows."""
    labels = np.where(np.arange(len(NAMED)) < share * len(NAMED), NAMED, (NAMED + 1) % 4)
    return expected_accuracy(
        BY_FOLD[0],
        labels,
        by_fold,
        by_fold.mean(axis=0),
        configuration_bias=configuration,
        kind_bias=kind,
    )


def test_the_expected_accuracy_is_out_of_fold_plus_gain_minus_biases() -> None:
    found, averaged = expect(0.6, configuration=0.03, kind=0.01)
    assert found.gain == averaged.gain > 0.01
    assert found.accuracy == pytest.approx(0.6 + found.gain - 0.03 - 0.01)
    parts = {"out_of_fold", "gain", "configuration_bias", "kind_bias"}
    assert found.as_dict().keys() == {"accuracy", *parts, "n_folds"}
    assert found.n_folds == 3


@pytest.mark.parametrize("out_of_fold", [0.0, 0.01, 0.99, 1.0])
@pytest.mark.parametrize("bias", [0.0, 0.2])
def test_the_expected_accuracy_stays_between_0_and_1(out_of_fold: float, bias: float) -> None:
    found, _ = expect(out_of_fold, configuration=0.03, kind=bias)
    assert 0 <= found.accuracy <= 1
    assert found.configuration_bias + found.kind_bias <= out_of_fold


def test_equal_predictions_of_all_folds_give_no_gain() -> None:
    found, averaged = expect(0.6, by_fold=np.repeat(BY_FOLD[:1], 3, axis=0))
    assert found.accuracy == pytest.approx(0.6, abs=1e-3)
    assert averaged.temperature_ratio == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("weights", "part"),
    [({3: 1.0, 5: 1.0}, 1.0), ({3: 1.0, "svm": 3.0}, 0.25), ({"svm": 1.0}, 0.0)],
)
def test_the_configuration_bias_counts_by_the_weight_of_trials(
    weights: dict[int | str, float], part: float
) -> None:
    one: Any = SimpleNamespace(weights=weights)
    assert final_evaluation._part_of_trials(one) == part


def test_the_page_shows_the_gain_and_the_selection_biases() -> None:
    expected, _ = expect(0.6, configuration=0.03, kind=0.01)
    page = sentences.optimism_text({"ensemble": {}, "expected": expected.as_dict()})
    assert (
        f"was {100 * expected.accuracy:.1f} %: 60.0 % out-of-fold accuracy, "
        f"{100 * expected.gain:+.1f} points for" in page
    )
    assert "3.0 points of selection bias were subtracted: configurations" in page
    assert "1.0 points of selection bias were subtracted: the ensemble" in page
    members = {"members": [3, "svm"]}
    page = sentences.optimism_text({"ensemble": members, "expected": expected.as_dict()})
    assert "for averaging 3 fold models per trial and for baselines trained on all" in page
    page = sentences.optimism_text(
        {"ensemble": {"members": ["svm"]}, "expected": expected.as_dict()}
    )
    assert "points for baselines trained on all development tracks" in page
    plain, _ = expect(0.6)
    assert "bias" not in sentences.optimism_text({"ensemble": {}, "expected": plain.as_dict()})
    older = {"accuracy": 0.65, "out_of_fold": 0.6, "gain": 0.05, "n_folds": 3}
    assert "was 65.0 %" in sentences.optimism_text({"ensemble": {}, "expected": older})


@pytest.mark.parametrize("newer", [{}, {"expected": {"accuracy": 0.7}}])
def test_reports_of_older_versions_are_read(tmp_path: Path, newer: dict[str, Any]) -> None:
    paths = StudyPaths(tmp_path)
    paths.report_json.write_text(json.dumps({"foretold": {"accuracy": 0.6}, **newer}))
    assert report.read_report(paths) == {"expected": {"accuracy": 0.6}, **newer}
