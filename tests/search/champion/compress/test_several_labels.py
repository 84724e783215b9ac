"""Compression of a study of tracks with several labels: targets, choice, and the bundle."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from chorale.datasets.label_sets import UNKNOWN
from chorale.lightning_models.multi_label_metrics import mean_average_precision
from chorale.search.bundle.bundle import Bundle
from chorale.search.bundle.predictor import Predictor
from chorale.search.champion.compress import teacher
from chorale.search.champion.compress.card import compression_summary
from chorale.search.champion.compress.teacher import Teacher
from chorale.search.champion.compress.variants import Variant, choose_variant, variant_rows
from chorale.search.cli import main
from chorale.search.config import schema
from chorale.search.config.resolve import resolve
from chorale.search.console.progress import Progress
from chorale.search.data.prepare import PreparedData, prepare
from chorale.search.ledger.ground_truth import read_ground_truth
from chorale.search.paths import Runs
from chorale.search.training import latency
from chorale.search.training.latency import Latency


@pytest.fixture(scope="module")
def prepared(chord_study: Path) -> PreparedData:
    path = str(chord_study / "s" / "sweep.yaml")
    sweep = schema.load_sweep_config(path, {"runs": str(chord_study)})
    return prepare(resolve(sweep, where="test"), Progress(Console(quiet=True)), map)


def made_up(prepared: PreparedData) -> Teacher:
    rng = np.random.default_rng(0)
    shape = (len(prepared.split.development_ids), len(prepared.class_names))
    return Teacher(tuple(rng.random(shape).astype(np.float32) for _ in range(2)))


def test_half_of_a_target_are_the_labels(prepared: PreparedData) -> None:
    made, split = made_up(prepared), prepared.split
    targets = made.targets(prepared, 0)
    at = {track: i for i, track in enumerate(split.development_ids)}
    rows = prepared.rows(split.train_ids(0))
    soft = made.of_fold[0][[at[track] for track in split.train_ids(0)]]
    np.testing.assert_allclose(targets[rows], 0.5 * soft + 0.5 * prepared.labels[rows], rtol=1e-6)
    assert (prepared.labels[rows].sum(axis=1) > 1).any()
    assert np.isnan(targets[prepared.rows(split.test_ids)]).all()


def test_of_an_unknown_label_the_target_is_the_teachers(prepared: PreparedData) -> None:
    made, rows = made_up(prepared), prepared.rows(prepared.split.train_ids(0))
    labels = prepared.labels.astype(np.int8)
    hidden = np.random.default_rng(1).random(labels.shape) < 0.3
    some = replace(prepared, labels=np.where(hidden, UNKNOWN, labels).astype(np.int8))
    found, whole = made.targets(some, 0)[rows], made.targets(prepared, 0)[rows]
    at_labels, hidden = labels[rows], hidden[rows]
    np.testing.assert_array_equal(found[~hidden], whole[~hidden])
    soft = 2 * whole - at_labels  # half of the whole target is the label
    np.testing.assert_allclose(found[hidden], soft[hidden], atol=1e-6)


def test_a_teacher_is_written_and_read_back(prepared: PreparedData, tmp_path: Path) -> None:
    made = made_up(prepared)
    teacher.write_teacher(tmp_path / "t.safetensors", made, prepared)
    kept = teacher.read_teacher(tmp_path / "t.safetensors", prepared)
    assert kept is not None
    assert kept.digest == made.digest


def test_the_variant_of_the_highest_map_is_chosen_and_scored() -> None:
    labels = np.array([[1, 0], [0, 1], [1, 1], [0, 1], [1, 0], [0, 1]])
    good = np.where(labels, 0.3, 0.2)  # ranks every label right, though never above 0.5
    poor = np.where(labels, 0.9, 0.6)
    poor[0, 0], poor[1, 0] = 0.1, 0.9
    variants = [
        Variant(name, proba, proba, Latency(1, 1, 1), 1.0, can_be_chosen=True)
        for name, proba in (("poor", poor), ("good", good))
    ]
    chosen = choose_variant(variants, labels, limit_ms=2)
    assert chosen is not None
    assert chosen.name == "good"
    groups = np.array(list("aabbcc"))
    rows = variant_rows(variants, development=labels, test=labels, groups=groups)
    assert rows[1]["test"]["mAP"] == 1.0
    assert rows[1]["test"]["macro_f1"] == 1.0, "at thresholds of its own"
    assert rows[1]["difference"] == pytest.approx(1 - mean_average_precision(poor, labels))


def test_a_study_is_compressed_to_a_bundle_with_thresholds(
    chord_study: Path, chords: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    measure = latency.measure_latency
    monkeypatch.setattr(latency, "measure_latency", lambda call, _: measure(call, 5))
    words = ["--target-ms", "500", "--trials", "1", "--cluster.address", "none"]
    to = tmp_path / "bundle"
    runs = Path(shutil.copytree(chord_study, tmp_path / "runs"))
    assert main(["compress", "s", *words, "--runs", str(runs), "--to", str(to)]) == 0
    assert "test mAP" in capsys.readouterr().out
    folder = Runs(runs).study("s-student-500ms")
    found: dict[str, Any] = json.loads(folder.compress_json.read_text())
    names = [one["variant"] for one in found["variants"]]
    assert names[:4] == ["ensemble", "best single", "student", "student, pruned"]
    assert "has a mAP of" in compression_summary(found)
    truth = read_ground_truth(folder)
    assert truth is not None
    predictor = Predictor(Bundle.open(to))
    assert predictor.bundle.manifest.multi_label
    assert set(predictor.bundle.manifest.thresholds) == {"high", "low", "mid"}
    ids = truth.split.test_ids
    proba = np.stack([predictor.predict_file(chords.parent / track).proba for track in ids])
    line = next(one for one in found["variants"] if one["variant"] == found["chosen"])
    reached = mean_average_precision(proba, truth.labels(ids))
    assert reached == pytest.approx(line["test"]["mAP"], abs=0.02)
    assert (to / "README.md").read_text().count("mAP") > 0
    for one in found["variants"]:
        low, high = one["test"]["ci95"]
        assert 0 <= low <= one["test"]["mAP"] <= high <= 1
