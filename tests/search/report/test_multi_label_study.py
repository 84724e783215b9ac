"""A study of several labels: its report, and the commands that show or repeat it; no accuracy."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chorale.search.cli import main
from chorale.search.ledger.ground_truth import GroundTruth, read_ground_truth
from chorale.search.paths import StudyPaths
from chorale.search.report.data.error_analysis import reliability_bins
from chorale.search.statistics.label_confusion import label_confusion
from tests.search.report.page.test_report_page import Page, read

NAMES = ("high", "low", "mid")


@pytest.fixture(scope="module")
def study(chord_study: Path, tmp_path_factory: pytest.TempPathFactory) -> StudyPaths:
    """A copy of the study whose page was rebuilt by `chorale report`."""
    runs = Path(shutil.copytree(chord_study, tmp_path_factory.mktemp("label-report") / "runs"))
    (runs / "s" / "report.html").unlink()
    assert main(["report", "s", "--runs", str(runs)]) == 0
    return StudyPaths(runs / "s")


@pytest.fixture(scope="module")
def report(study: StudyPaths) -> dict[str, Any]:
    return dict(json.loads(study.report_json.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def page(study: StudyPaths) -> Page:
    return read(study.report_html.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def truth(study: StudyPaths) -> GroundTruth:
    found = read_ground_truth(study)
    assert found is not None
    return found


def test_no_sentence_speaks_of_accuracy_classes_or_mcnemar(page: Page) -> None:
    text = re.sub(r"class_weights|# .*", "", page.text[: page.text.index("It reads the resolved")])
    assert not re.search(r"accura|\bclass|McNemar|confusion|misclassif", text, flags=re.IGNORECASE)


def test_the_headline_and_the_tiles_are_the_map_with_its_interval(
    page: Page, report: dict[str, Any]
) -> None:
    test = report["ensemble"]["test"]
    low, high = (100 * end for end in test["ci95"])
    assert f"Test mAP {100 * test['mAP']:.1f} % (95 % CI {low:.1f} to {high:.1f})" in page.text
    assert f"test mAP, {report['ensemble']['kind']} {test['mAP']:.1%}" in page.text
    for one in (*report["ensembles"].values(), *report["baselines"].values()):
        assert f"{one['test']['mAP']:.1%}" in page.text
    assert "Difference in mAP (first minus second)" in page.text
    assert "72 tracks, 3 labels, 12 groups" in page.text


def test_the_expected_map_is_that_of_the_test_sets_size(
    page: Page, report: dict[str, Any], truth: GroundTruth
) -> None:
    one = report["expected"]
    assert one["n_tracks"] == len(truth.split.test_ids) == report["ensemble"]["test"]["n"]
    biases = one["configuration_bias"] + one["kind_bias"]
    assert one["mAP"] == pytest.approx(
        one["out_of_fold"] + one["set_size"] + one["gain"] - biases, abs=1e-9
    )
    assert 0 <= one["mAP"] <= 1
    assert (
        f"Validation mAP {100 * report['ensemble']['validation']['mAP']:.1f} %, expected test mAP "
        f"{100 * one['mAP']:.1f} %."
    ) in page.text
    assert f"as the mAP of fewer tracks ({one['n_tracks']} test tracks) is higher" in page.text


def test_each_label_has_its_threshold_and_scores(page: Page, report: dict[str, Any]) -> None:
    head = "label tracks average precision threshold recall precision F1 calibration error"
    assert head in page.text
    for name, one in report["per_class"].items():
        assert (
            f"{name} {one['n']} {one['average_precision']:.1%} {one['threshold']:.3f}" in page.text
        )


def test_the_counts_of_labels_are_those_of_the_decisions(report: dict[str, Any]) -> None:
    for part in ("test", "out-of-fold"):
        counts, totals = (np.array(report[key][part]) for key in ("confusion", "confusion_totals"))
        assert (counts <= totals).all()
        assert counts.shape == (3, 3)
    for i, name in enumerate(NAMES):
        one = report["per_class"][name]
        assert report["confusion_totals"]["test"][i][i] == one["n"]
        assert report["confusion"]["test"][i][i] == round(one["recall"] * one["n"])


def test_the_hardest_tracks_have_wrong_or_missed_labels_and_the_highest_losses(
    report: dict[str, Any], truth: GroundTruth, page: Page
) -> None:
    hardest = report["hardest"]
    assert hardest
    losses = [one["loss"] for one in hardest]
    assert losses == sorted(losses, reverse=True)
    for one in hardest:
        assert one["track"] in truth.split.development_ids
        true = {truth.class_names[i] for i in truth.classes_of(one["track"])}
        assert set(one["true"]) == true
        assert set(one["missed"]) <= true
        assert not set(one["wrong"]) & true
        assert one["missed"] or one["wrong"]
    assert "labels missed wrongly predicted group log loss" in page.text


def test_reliability_bins_hold_every_label_of_every_track(
    report: dict[str, Any], truth: GroundTruth
) -> None:
    n_test, n_development = len(truth.split.test_ids), len(truth.split.development_ids)
    for one, n in zip(report["reliability"], (n_test, n_development), strict=True):
        assert sum(found["n"] for found in one["after"]) == 3 * n
    assert "decisions on test tracks" in {one["name"] for one in report["reliability"]}


def test_tensorboard_has_the_labels_confused_and_several_labels_of_a_point(
    study: StudyPaths,
) -> None:
    assert study.ensemble_tensorboard.all_events()
    lines = study.finalist_tensorboard(0).metadata.read_text(encoding="utf-8").splitlines()
    rows = [dict(zip(lines[0].split("\t"), line.split("\t"), strict=True)) for line in lines[1:]]
    assert len(rows) == 54
    assert any(";" in row["label"] for row in rows)
    assert all((row["right"] == "yes") == (row["label"] == row["predicted"]) for row in rows)


def test_label_confusion_counts_a_track_in_the_row_of_each_of_its_labels() -> None:
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 2, (40, 3)), rng.random((40, 3)) < 0.5
    found = label_confusion(predicted, labels)
    for i in range(3):
        for j in range(3):
            rows = (labels[:, i] == 1) & ((labels[:, j] == 0) | (i == j))
            assert found.totals[i, j] == rows.sum()
            assert found.counts[i, j] == predicted[rows, j].sum()


def test_reliability_bins_of_labels_are_by_their_own_probability() -> None:
    proba, labels = np.array([[0.04, 0.91], [0.06, 0.97]]), np.array([[0, 1], [1, 1]])
    first, last = reliability_bins(proba, labels)
    assert [first.confidence, last.confidence] == pytest.approx([0.05, 0.94])
    assert [(one.right, one.n) for one in (first, last)] == [(0.5, 2), (1.0, 2)]


@pytest.fixture
def runs(chord_study: Path, tmp_path: Path) -> str:
    """A copy of the runs folder with the study `s`."""
    return str(shutil.copytree(chord_study, tmp_path / "runs"))


def test_status_list_and_leaderboard_show_the_map(
    runs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    for command in (["list"], ["status", "s"], ["leaderboard", "s"]):
        assert main([*command, "--runs", runs]) == 0
        text = capsys.readouterr().out
        assert "mAP" in text
        assert "accuracy" not in text
    assert main(["leaderboard", "s", "--runs", runs, "--csv", "-"]) == 0
    head, first, second = capsys.readouterr().out.splitlines()
    column = head.split(",").index("folds_accuracy")  # the mean mAP over folds
    assert all(0.5 < float(line.split(",")[column]) <= 1 for line in (first, second))


def test_ensembles_are_rebuilt_from_the_prediction_bank(
    runs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = Path(runs) / "s" / "report.json"
    before = json.loads(file.read_text(encoding="utf-8"))
    capsys.readouterr()
    assert main(["ensemble", "s", "--runs", runs]) == 0
    assert "Test mAP" in capsys.readouterr().out
    after = json.loads(file.read_text(encoding="utf-8"))
    assert after["task"] == "multi_label"
    assert after["thresholds"] == pytest.approx(before["thresholds"])
    assert after["ensemble"]["test"]["mAP"] == pytest.approx(before["ensemble"]["test"]["mAP"])
    assert after["test_looks"] == before["test_looks"] + 1
    assert after["confusion_totals"] == before["confusion_totals"]
