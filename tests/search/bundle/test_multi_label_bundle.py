"""Bundles of recordings that have several labels: thresholds, flags, refusals, output formats."""

import csv
import io
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from chorale.datasets.errors import UserError
from chorale.search.bundle.bundle import Bundle
from chorale.search.bundle.disagreement import disagreement, predictive_entropy
from chorale.search.bundle.predictor import Predictor, TrackPrediction
from chorale.search.bundle.single_network import (
    Calibration,
    SingleNetwork,
    fit_calibration,
    write_single_network_bundle,
)
from chorale.search.cli import main
from chorale.search.commands.prediction_output import PREDICTION_WRITERS
from chorale.search.evaluation.chosen_predictions import read_chosen_predictions
from chorale.search.ledger.ground_truth import read_ground_truth
from chorale.search.paths import Runs
from chorale.search.report.report import read_report
from chorale.search.statistics.calibration import calibrate
from chorale.search.statistics.thresholds import fit_thresholds, labels_above

UNCALIBRATED = Calibration(temperature=1.0, coverage=0.9, least_proba=0.0, most_entropy=None)

MakeBundle = Callable[..., Path]

THRESHOLDS = {"blues": 0.001, "jazz": 0.5, "metal": 0.999}
"""An untrained network predicts the first label of any sound, and never the last."""
RATE = 8000


@pytest.fixture(scope="module")
def bundle(make_bundle: MakeBundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("several") / "bundle"
    members: list[Any] = [("cnn", "mel", {"n_layers": 2, "width": 16}, {})] * 2
    return make_bundle(to, members, n_spaces=2, thresholds=THRESHOLDS, temperature=1.5)


@pytest.fixture(scope="module")
def predictor(bundle: Path) -> Predictor:
    return Predictor(Bundle.open(bundle))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "a.wav"
    wave = 0.1 * np.random.default_rng(0).standard_normal(2 * RATE)
    soundfile.write(path, wave, RATE)
    return path


def test_each_label_has_a_probability_and_a_threshold_of_its_own(
    predictor: Predictor, clip: Path
) -> None:
    found = predictor.predict_file(clip)
    networks = [module for _, module in predictor.parts.networks]
    assert all(module.multi_label for module in networks)
    # four untrained networks give each label about 0.5: that is no distribution over classes
    assert found.proba.sum() > 1.2
    assert found.predicted is not None
    np.testing.assert_array_equal(found.predicted, found.proba >= list(THRESHOLDS.values()))
    assert found.predicted[0]
    assert not found.predicted[2]


def changed(bundle: Path, to: Path, change: dict[str, Any]) -> Path:
    """A copy of the bundle with another manifest; None removes a key."""
    shutil.copytree(bundle, to)
    manifest = json.loads((to / "bundle.json").read_text()) | change
    kept = {key: value for key, value in manifest.items() if value is not None}
    (to / "bundle.json").write_text(json.dumps(kept))
    return to


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"thresholds": None}, "lacks the thresholds of blues, jazz, metal"),
        ({"thresholds": {"blues": 0.5, "metal": 0.1}}, "lacks the thresholds of jazz"),
        ({"thresholds": THRESHOLDS | {"pop": 0.5}}, "what are not its labels, pop"),
        ({"thresholds": THRESHOLDS | {"jazz": 1.5}}, "not 0 to 1, jazz=1.5"),
        ({"thresholds": THRESHOLDS | {"jazz": float("nan")}}, "not 0 to 1, jazz=nan"),
        ({"thresholds": THRESHOLDS | {"jazz": "high"}}, "thresholds.jazz"),
        ({"task": None}, "what are not its labels, blues, jazz, metal"),
        ({"task": "several"}, "task"),
    ],
)
def test_missing_or_damaged_thresholds_are_refused(
    bundle: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        Bundle.open(changed(bundle, tmp_path / "b", change))


def test_networks_of_another_task_are_refused(bundle: Path, tmp_path: Path) -> None:
    broken = changed(bundle, tmp_path / "b", {"task": None, "thresholds": None})
    with pytest.raises(UserError, match="for the task multi_label, the manifest's is single_label"):
        Predictor(Bundle.open(broken))


def test_disagreement_and_entropy_are_sums_over_the_labels() -> None:
    apart = np.array([[[0.0, 0.5, 1.0]], [[1.0, 0.5, 0.0]]])  # two members, one track
    assert disagreement(apart, multi_label=True) == pytest.approx([2 * np.log(2)])
    assert disagreement(apart[:1], multi_label=True) == pytest.approx([0])
    proba = np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    expected = [2 * np.log(2), 0, 0]
    assert predictive_entropy(proba, multi_label=True) == pytest.approx(expected)


def test_the_calibration_of_one_network_has_a_threshold_for_each_label(
    bundle: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random((200, 3)) < [0.5, 0.3, 0.2]).astype(np.uint8)
    proba = np.clip(0.3 * labels + 0.7 * rng.random((200, 3)), 0.01, 0.99)
    groups = np.arange(200) // 4
    found = fit_calibration(proba, labels, groups, coverage=0.8, seed=0)
    at_temperature = calibrate(proba, found.temperature, multi_label=True)
    expected = fit_thresholds(at_temperature, labels)
    assert found.thresholds == pytest.approx(expected.tolist(), abs=0.1)
    assert found.most_entropy is not None
    entropies = predictive_entropy(at_temperature, multi_label=True)
    assert np.mean(entropies > found.most_entropy) <= 0.01

    weights = bundle / "networks" / "0-0"
    card = json.loads((weights / "card.json").read_text()) | {
        "features": "mel",
        "features_config": Bundle.open(bundle).manifest.features["mel"],
    }
    from_card = tmp_path / "weights"
    from_card.mkdir()
    for file in weights.iterdir():
        (from_card / file.name).write_bytes(file.read_bytes())
    (from_card / "card.json").write_text(json.dumps(card))
    one = write_single_network_bundle(tmp_path / "one", SingleNetwork("a", from_card, found))
    assert list(one.manifest.thresholds.values()) == list(found.thresholds)
    assert one.manifest.multi_label
    plain = write_single_network_bundle(
        tmp_path / "plain", SingleNetwork("a", from_card, UNCALIBRATED)
    )
    assert set(plain.manifest.thresholds.values()) == {0.5}


def prediction(
    proba: tuple[float, ...], predicted: tuple[bool, ...], inside: tuple[bool, ...]
) -> TrackPrediction:
    masks = np.array(predicted), np.array(inside)
    return TrackPrediction(np.array(proba), masks[1], 0.1, out_of_distribution=False,
                           predicted=masks[0])  # fmt: skip


@pytest.mark.parametrize(
    ("made", "line"),
    [
        (
            prediction((0.8, 0.2, 0.9), (True, False, True), (True, False, True)),
            "a.wav: c 90.0%, a 80.0%",
        ),
        (
            prediction((0.8, 0.3, 0.2), (False, False, False), (False, False, False)),
            "a.wav: no label; below the threshold: a 80.0%, b 30.0%",
        ),
        (
            prediction((0.8, 0.7, 0.2), (True, False, False), (True, True, False)),
            "a.wav: a 80.0%; below the threshold: b 70.0%; conformal set: a, b",
        ),
        (
            prediction((0.4, 0.3, 0.2), (True, True, True), (False, False, False)),
            "a.wav: a 40.0%, b 30.0%, c 20.0%; conformal set: empty",
        ),
    ],
)
def test_text_has_all_labels_that_reach_their_thresholds(
    made: TrackPrediction, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    PREDICTION_WRITERS["text"](("a", "b", "c"), top=2, multi_label=True).good("a.wav", made, ())
    assert capsys.readouterr().out == line + "\n"


def test_json_and_csv_have_the_labels_their_probabilities_and_the_sets(
    bundle: Path, predictor: Predictor, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = predictor.predict_file(clip)
    assert expected.predicted is not None
    names = [name for name, yes in zip(predictor.labels, expected.predicted, strict=True) if yes]
    words = ["predict", str(clip), "--bundle", str(bundle), "--timeline", "--segment", "0.5"]
    assert main([*words, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert sorted(one["label"] for one in answer["labels"]) == names
    assert all(one["proba"] >= THRESHOLDS[one["label"]] for one in answer["labels"])
    assert list(answer["proba"].values()) == pytest.approx(list(expected.proba), abs=1e-5)
    assert set(answer["set"]) == {name for name, p in answer["proba"].items() if p >= 0.2}, (
        "every label of at least that probability is in the set"
    )
    assert answer["out_of_distribution"] is expected.out_of_distribution
    assert {"label", "none_of_these"}.isdisjoint(answer)
    assert [one["start_s"] for one in answer["timeline"]] == [0, 0.5, 1, 1.5]
    assert all(one["labels"][0]["proba"] > 0 for one in answer["timeline"])

    assert main([*words, "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == 4
    for row, one in zip(rows, answer["timeline"], strict=True):
        assert row["labels"].split(";") == sorted(part["label"] for part in one["labels"])
        assert row["out_of_distribution"] in ("true", "false")
        assert float(row["p(metal)"]) == pytest.approx(one["proba"]["metal"], abs=1e-5)


@pytest.fixture(scope="module")
def packed(chord_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("packed") / "bundle"
    assert main(["export", "s", "--runs", str(chord_study), "--to", str(to)]) == 0
    return to


def test_a_bundle_reproduces_the_studys_test_predictions(
    chord_study: Path, chords: Path, packed: Path
) -> None:
    paths = Runs(chord_study).study("s")
    truth, report = read_ground_truth(paths), read_report(paths)
    assert truth is not None
    chosen = read_chosen_predictions(paths, truth)
    assert chosen is not None
    predictor = Predictor(Bundle.open(packed))
    manifest = predictor.bundle.manifest
    assert (manifest.task, manifest.kind) == ("multi_label", "stacking")
    assert manifest.thresholds == report["thresholds"]
    found = [predictor.predict_file(chords.parent / track) for track in truth.split.test_ids]
    proba = np.stack([one.proba for one in found])
    assert np.abs(proba - chosen.calibrated_test).max() < 1e-4
    predicted = np.stack([one.predicted for one in found if one.predicted is not None])
    clear = np.abs(proba - list(manifest.thresholds.values())) > 1e-3
    expected = labels_above(chosen.calibrated_test, np.array(list(manifest.thresholds.values())))
    np.testing.assert_array_equal(predicted[clear], expected[clear])
    limit = manifest.most_disagreement
    assert [one.out_of_distribution for one in found] == [one.disagreement > limit for one in found]


def test_the_card_names_thresholds_and_scores_of_several_labels(
    chord_study: Path, packed: Path
) -> None:
    card = (packed / "README.md").read_text()
    report = read_report(Runs(chord_study).study("s"))
    assert "Tells which of 3 labels a recording has: high, low, mid." in card
    assert "contains on average about 80% of a recording's labels" in card
    test = report["ensemble"]["test"]
    assert f"| locked test set | {test['mAP']:.1%} |" in card
    for name, value in report["thresholds"].items():
        assert re.search(rf"\| {name} \| \d+ \| [\d.]+% \| {value:.3f} \|", card)


def test_a_report_without_thresholds_is_refused(
    chord_study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = shutil.copytree(chord_study, tmp_path / "runs")
    path = Runs(runs).study("s").report_json
    report = json.loads(path.read_text())
    del report["thresholds"]["mid"]
    path.write_text(json.dumps(report))
    assert main(["export", "s", "--runs", str(runs), "--to", str(tmp_path / "b")]) == 1
    err = capsys.readouterr().err
    assert "lacks the thresholds of mid; make it again: chorale ensemble s" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("kind", ["best_single", "best_baseline"])
def test_a_bundle_of_one_member_flags_high_entropy_of_all_labels(
    chord_study: Path, chords: Path, tmp_path: Path, kind: str
) -> None:
    runs = shutil.copytree(chord_study, tmp_path / "runs")
    words = ["--kinds", kind, "--kind", kind, "--runs", str(runs)]
    assert main(["ensemble", "s", *words]) == 0
    to = tmp_path / "bundle"
    assert main(["export", "s", "--runs", str(runs), "--to", str(to)]) == 0
    predictor = Predictor(Bundle.open(to))
    limit = predictor.bundle.manifest.most_entropy
    assert limit is not None
    assert 0 < limit <= 3 * np.log(2)
    files = sorted(chords.parent.glob("*.wav"))[:10]
    assert np.mean([predictor.predict_file(file).out_of_distribution for file in files]) < 0.3
    low_limit = replace(predictor.bundle.manifest, most_entropy=-1e-9)
    predictor.bundle = replace(predictor.bundle, manifest=low_limit)
    assert all(predictor.predict_file(file).out_of_distribution for file in files[:2])
