"""Inputs of the gate: the latency of a candidate, and the baseline that it must beat."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chorale.datasets import audio
from chorale.datasets.splitting.split import Split
from chorale.search.bundle import predictor
from chorale.search.ledger import predictions
from chorale.search.ledger.ground_truth import GroundTruth
from chorale.search.ledger.predictions import PredictionPart
from chorale.search.nightly import comparison
from chorale.search.nightly.comparison import best_baseline
from chorale.search.paths import StudyPaths

TEST, REST = ("a", "b"), ("c", "d", "e", "f")


def test_latency_is_measured_warm_and_in_cpu_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first prediction of each length takes seconds; other load delays every third."""
    now_s = {"wall": 0.0, "processor": 0.0}

    class Predictor:
        def __init__(self, bundle: object) -> None:
            self.n, self.known = 0, set[int]()

        def predict_waveform(self, waveform: Any, sample_rate: int) -> None:
            self.n += 1
            spent_s = 0.01 if len(waveform) in self.known else 7.0
            self.known.add(len(waveform))
            now_s["processor"] += spent_s
            now_s["wall"] += spent_s + (0.5 if self.n % 3 == 0 else 0.001)

    monkeypatch.setattr(predictor, "Predictor", Predictor)
    monkeypatch.setattr(time, "perf_counter", lambda: now_s["wall"])
    monkeypatch.setattr(time, "process_time", lambda: now_s["processor"])
    monkeypatch.setattr(audio, "load_audio", lambda path: (np.zeros(int(path.name)), 8000))
    bundle: Any = None
    found = comparison._latency(bundle, [str(Path("/") / str(n)) for n in (10, 20, 30, 40, 50)])
    assert found.processor_ms == pytest.approx(10.0)
    assert found.p50_ms == pytest.approx(11.0)


def test_the_best_baseline_is_chosen_out_of_fold_and_not_on_the_test_set(tmp_path: Path) -> None:
    split = Split(TEST, {track: i % 2 for i, track in enumerate(REST)}, "", 2, 0)
    label_of = {track: i % 2 for i, track in enumerate(TEST + REST)}
    truth = GroundTruth(("x", "y"), split, label_of, {track: track for track in label_of})
    paths = StudyPaths(tmp_path)
    assert best_baseline(paths, truth) is None
    correct_ids = {
        "svm": (REST, ()),
        "knn": (REST[:2], TEST),
    }  # the tracks that each classifies correctly
    for name, both in correct_ids.items():
        parts = {}
        for part, ids, correct in zip(("out_of_fold", "test"), (REST, TEST), both, strict=True):
            labels = [label_of[track] if track in correct else 1 - label_of[track] for track in ids]
            parts[part] = PredictionPart(ids, np.eye(2, dtype=np.float32)[labels])
        predictions.write_predictions(paths.baseline(name), parts, split=split.hash)
    found = best_baseline(paths, truth)
    assert found is not None
    assert found[0] == "svm"
    assert found[1].argmax(axis=1).tolist() == [1 - label_of[track] for track in TEST]
