"""Robustness of a bundle: a scripted predictor with known failures has known figures."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from chorale.datasets.recording.conditions import CONDITIONS
from chorale.search.bundle.predictor import TrackPrediction
from chorale.search.champion.robustness.robustness import Robustness, measure_robustness

N, RATE = 40, 8000


class LoudnessPredictor:
    """Names class 1 where a recording is loud, and is unsure of what is shorter than 2 s."""

    bundle = SimpleNamespace(manifest=SimpleNamespace(coverage=0.9))

    def predict_waveform(self, waveform: np.ndarray, rate: int) -> TrackPrediction:
        loud, short = np.abs(waveform).max() > 0.05, len(waveform) < 2 * rate
        proba = np.array([0.1, 0.9]) if loud else np.array([0.9, 0.1])
        sets = np.array([True, True]) if short else proba > 0.5
        return TrackPrediction(proba, sets, 0.0, short)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Loud and quiet tones in turn, every fourth of them 1.5 s long and the others 3 s."""
    found = []
    for number in range(N):
        seconds = 1.5 if number % 4 == 0 else 3.0
        level = 0.2 if number % 2 else 0.02
        wave = level * np.sin(np.arange(int(seconds * RATE)))
        found.append(tmp_path / f"{number:02d}.wav")
        soundfile.write(found[-1], wave, RATE)
    return found


def _measured(files: list[Path], *names: str, **more: Any) -> Robustness:
    labels, groups = np.arange(N) % 2, np.array([f"g{i // 2}" for i in range(N)])
    conditions = {name: CONDITIONS[name] for name in names}
    predictor: Any = LoudnessPredictor()
    return measure_robustness(predictor, files, labels, groups, conditions, **more)


def test_what_a_condition_breaks_is_measured_and_what_it_leaves_is_not(files: list[Path]) -> None:
    done: list[int] = []
    found = _measured(files, "quiet", "cut_1", "cut_10", show=done.append)
    assert done == list(range(1, N + 1))
    clean, quiet, second, ten = found.rows
    assert (clean.score, clean.difference, clean.ci95) == (1.0, 0.0, (0.0, 0.0))
    assert quiet.score == 0.5, "all loud ones are quiet now"
    assert quiet.difference == -0.5
    assert quiet.ci95[0] < -0.5 < quiet.ci95[1] < 0
    assert (clean.out_of_distribution, clean.covered, clean.set_size) == (0.25, 1.0, 1.25)
    assert (second.score, second.out_of_distribution, second.set_size) == (1.0, 1.0, 2.0)
    assert (quiet.covered, second.covered) == (0.5, 1.0)
    assert (ten.n_unchanged, second.n_unchanged, quiet.n_unchanged) == (N, 0, 0)
    assert "1 of 3 conditions lower it" in found.sentence()
    assert "level 20 dB lower: 50.0%, -50.0 points" in found.sentence()


def test_the_same_seed_gives_the_same_noise_and_each_track_its_own(files: list[Path]) -> None:
    first, again = (_measured(files, "noise_10").as_dict() for _ in range(2))
    assert first == again
    predicted: list[np.ndarray] = []

    class Recording(LoudnessPredictor):
        def predict_waveform(self, waveform: np.ndarray, rate: int) -> TrackPrediction:
            predicted.append(waveform)
            return super().predict_waveform(waveform, rate)

    predictor: Any = Recording()
    measure_robustness(
        predictor, [files[1], files[1]], np.array([0, 1]), np.array(["a", "b"]),
        {name: CONDITIONS[name] for name in ("noise_10", "noise_20")},
    )  # fmt: skip
    noises = [predicted[at] - predicted[0] for at in (1, 2, 4, 5)]
    scaled = [noise / np.std(noise) for noise in noises]
    for i in range(4):
        for j in range(i):
            assert abs(float(np.mean(scaled[i] * scaled[j]))) < 0.05, "independent"
