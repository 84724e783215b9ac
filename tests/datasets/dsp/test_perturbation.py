"""Perturbed waveforms: within their ranges, the same from the same random numbers."""

import numpy as np
import pytest

from chorale.datasets.dsp import perturbation
from chorale.datasets.dsp.perturbation import draw_perturbation, perturbed

RATE = 8_000


def tone(duration_s: float = 4.0, rate: int = RATE) -> np.ndarray:
    t = np.arange(round(duration_s * rate)) / rate
    return np.asarray(0.5 * np.sin(2 * np.pi * 440 * t), np.float32)


def test_drawn_values_fill_their_ranges() -> None:
    drawn = [draw_perturbation(10.0, np.random.default_rng(i)) for i in range(400)]
    cropped = np.array([one.start_s + one.end_s for one in drawn])
    assert 0 <= cropped.min() < 0.1
    assert 1.9 < cropped.max() <= 2.0
    assert all(min(one.start_s, one.end_s) >= 0 for one in drawn)
    for name, ends in (("gain_db", perturbation.GAIN_DB), ("snr_db", perturbation.SNR_DB)):
        values = np.array([getattr(one, name) for one in drawn])
        assert ends[0] <= values.min() < ends[0] + 1
        assert ends[1] - 1 < values.max() <= ends[1]
    longest = max(sum(draw_perturbation(600.0, np.random.default_rng(i))[:2]) for i in range(400))
    assert 2.9 < longest <= perturbation.MAX_CROPPED_S


@pytest.mark.parametrize("seed", range(8))
def test_a_perturbed_tone_has_the_drawn_crop_gain_and_noise(seed: int) -> None:
    drawn = draw_perturbation(4.0, np.random.default_rng(seed))
    made = perturbed(tone(), RATE, np.random.default_rng(seed)).astype(np.float64)
    start, end = round(drawn.start_s * RATE), round(drawn.end_s * RATE)
    clean = tone()[start : len(tone()) - end].astype(np.float64)
    assert len(made) == len(clean)
    assert np.abs(made).max() <= 1 + 1e-6
    gain = (made @ clean) / (clean @ clean)
    expected = 10 ** (drawn.gain_db / 20)
    if np.abs(made).max() < 0.999:  # else it stopped at full scale
        assert gain == pytest.approx(expected, rel=0.02)
    noise = made / gain - clean
    snr_db = 10 * np.log10((clean @ clean) / (noise @ noise))
    assert snr_db == pytest.approx(drawn.snr_db, abs=0.3)


def test_two_sample_rates_get_the_same_crop_and_level() -> None:
    low, high = (
        perturbed(tone(rate=rate), rate, np.random.default_rng(3)) for rate in (RATE, 2 * RATE)
    )
    assert len(high) == pytest.approx(2 * len(low), abs=2)
    assert np.std(high) == pytest.approx(np.std(low), rel=0.02)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_a_recording_of_few_samples_and_a_silent_one_stay_finite(n: int) -> None:
    for waveform in (np.zeros(n, np.float32), np.ones(n, np.float32)):
        made = perturbed(waveform, RATE, np.random.default_rng(0))
        assert made.dtype == np.float32
        assert len(made) >= 1
        assert np.isfinite(made).all()


def test_a_recording_beyond_full_scale_is_not_made_louder() -> None:
    loud = np.asarray(1.5 * np.sin(np.arange(8_000) / 5), np.float32)
    for seed in range(20):
        made = perturbed(loud, RATE, np.random.default_rng(seed))
        assert made.std() <= 1.06 * loud.std()  # with noise of 10 dB
