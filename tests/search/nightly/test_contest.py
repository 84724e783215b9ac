"""What a night's gate is told of a candidate's latency."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chorale.datasets import audio
from chorale.search.champion import predictor
from chorale.search.nightly import contest


def test_a_prediction_is_timed_warm_and_by_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first time of each length takes seconds, and other work lengthens every third."""
    now_s = {"wall": 0.0, "processor": 0.0}

    class Predictor:
        def __init__(self, bundle: object) -> None:
            self.n, self.known = 0, set[int]()

        def of_waveform(self, waveform: Any, sample_rate: int) -> None:
            self.n += 1
            spent_s = 0.01 if len(waveform) in self.known else 7.0
            self.known.add(len(waveform))
            now_s["processor"] += spent_s
            now_s["wall"] += spent_s + (0.5 if self.n % 3 == 0 else 0.001)

    monkeypatch.setattr(predictor, "Predictor", Predictor)
    monkeypatch.setattr(time, "perf_counter", lambda: now_s["wall"])
    monkeypatch.setattr(time, "process_time", lambda: now_s["processor"])
    monkeypatch.setattr(audio, "load", lambda path: (np.zeros(int(path.name)), 8000))
    bundle: Any = None
    found = contest._latency(bundle, [str(Path("/") / str(n)) for n in (10, 20, 30, 40, 50)])
    assert found.processor_ms == pytest.approx(10.0)
    assert found.p50_ms == pytest.approx(11.0)
