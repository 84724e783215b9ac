"""stats57 and stats518 are compared with librosa by the published definitions."""

import warnings
from typing import Any

import librosa
import numpy as np
import numpy.typing as npt
import pytest
import scipy.ndimage
import scipy.stats
from pydantic import ValidationError

from chorale.datasets.dsp import constant_q, descriptors, hpss
from chorale.datasets.features import stats57, stats518
from chorale.datasets.tables.stats_names import STATS57, STATS518

RATE_HZ = 22_050


def signal(kind: str, *, sample_rate: int = RATE_HZ, duration_s: float = 4.0) -> npt.NDArray[Any]:
    rng = np.random.default_rng(1)
    n = int(duration_s * sample_rate) + 77
    time_s = np.arange(n) / sample_rate
    noise = rng.standard_normal(n)
    tone = np.sin(2 * np.pi * 331.7 * time_s) + 0.3 * np.sin(2 * np.pi * 1203 * time_s)
    beats = tone * np.exp(-6 * (time_s % 0.5)) + 0.3 * noise * np.exp(-30 * (time_s % 0.25))
    waveforms = {"noise": 0.3 * noise, "beats": 0.4 * beats, "quiet": 1e-4 * (beats + 0.1 * noise)}
    return np.asarray(waveforms[kind], np.float32)


def gtzan_by_librosa(y: npt.NDArray[Any], sr: int) -> npt.NDArray[np.float64]:
    from librosa.effects import hpss as harmonic_and_percussive
    from librosa.onset import onset_strength

    feature = librosa.feature
    measured = [
        feature.chroma_stft(y=y, sr=sr),
        feature.rms(y=y),
        feature.spectral_centroid(y=y, sr=sr),
        feature.spectral_bandwidth(y=y, sr=sr),
        feature.spectral_rolloff(y=y, sr=sr),
        feature.zero_crossing_rate(y),
        *harmonic_and_percussive(y),
    ]
    # what `beat_track` returns beside the beats, whose search would be compiled for half a minute
    onsets = onset_strength(y=y, sr=sr, aggregate=np.median)
    tempo = feature.tempo(onset_envelope=onsets, sr=sr)
    rows = feature.mfcc(y=y, sr=sr, n_mfcc=20)
    before = [moment for values in measured for moment in (values.mean(), values.var())]
    after = [moment for row in rows for moment in (row.mean(), row.var())]
    return np.array([*before, np.atleast_1d(tempo)[0], *after], np.float64)


def fma_by_librosa(y: npt.NDArray[Any], sr: int) -> npt.NDArray[np.float64]:
    """As in FMA's `features.py`; the current librosa needs the number of bins per octave."""
    feature = librosa.feature
    C = np.abs(librosa.cqt(y, sr=sr, hop_length=512, bins_per_octave=12, n_bins=84, tuning=None))
    S = np.abs(librosa.stft(y, n_fft=2048, hop_length=512))
    cens = feature.chroma_cens(C=C, n_chroma=12, n_octaves=7, bins_per_octave=12)
    mel = feature.melspectrogram(sr=sr, S=S**2)
    series = [
        cens,
        feature.chroma_cqt(C=C, n_chroma=12, n_octaves=7, bins_per_octave=12),
        feature.chroma_stft(S=S**2, n_chroma=12),
        feature.mfcc(S=librosa.power_to_db(mel), n_mfcc=20),
        feature.rms(S=S),
        feature.spectral_bandwidth(S=S),
        feature.spectral_centroid(S=S),
        feature.spectral_contrast(S=S, n_bands=6),
        feature.spectral_rolloff(S=S),
        feature.tonnetz(chroma=cens),
        feature.zero_crossing_rate(y, frame_length=2048, hop_length=512),
    ]
    return np.concatenate([fma_statistics(values.astype(np.float64)) for values in series])


def fma_statistics(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a series that never changes
        kurtosis, skewness = scipy.stats.kurtosis(values, axis=1), scipy.stats.skew(values, axis=1)
    return np.concatenate(
        [
            np.where(
                np.isnan(kurtosis), -3, kurtosis
            ),  # the result of FMA's scipy for such a series
            values.max(axis=1),
            values.mean(axis=1),
            np.median(values, axis=1),
            values.min(axis=1),
            np.where(np.isnan(skewness), 0, skewness),
            values.std(axis=1),
        ]
    )


def deviations(
    got: npt.NDArray[Any],
    expected: npt.NDArray[np.float64],
    floor: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    size = np.maximum(np.maximum(np.abs(expected), floor), 1e-12)
    return np.asarray(np.abs(got - expected) / size)


def floor57(expected: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The scale for comparing a mean: relative to its spread, because of rounding near 0."""
    floor = np.zeros(len(STATS57))
    for i, name in enumerate(STATS57):
        if name.endswith("_mean"):
            floor[i] = np.sqrt(expected[i + 1])
    return floor


def floor518(expected: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Tolerances: locations relative to the spread of their series; shape statistics about 1."""
    spread = dict(zip(STATS518, expected, strict=True))
    floor = np.zeros(len(STATS518))
    for i, name in enumerate(STATS518):
        feature, statistic, row = name.rsplit("_", 2)
        shapes = statistic in ("skew", "kurtosis")
        floor[i] = 1 if shapes else spread[f"{feature}_std_{row}"]
    return floor


@pytest.mark.parametrize("kind", ["noise", "beats", "quiet"])
def test_stats57_equal_librosa_within_a_ten_thousandth(kind: str) -> None:
    waveform = signal(kind)
    expected = gtzan_by_librosa(waveform, RATE_HZ)
    got = stats57.extract(waveform, stats57.Config())
    off = deviations(got, expected, floor57(expected))
    assert {name for name, x in zip(STATS57, off, strict=True) if not x < 1e-4} == set()


@pytest.mark.parametrize("kind", ["noise", "beats", "quiet"])
def test_stats518_equal_librosa_within_a_ten_thousandth(kind: str) -> None:
    waveform = signal(kind)
    expected = fma_by_librosa(waveform, RATE_HZ)
    got = stats518.extract(waveform, stats518.Config())
    off = deviations(got, expected, floor518(expected))
    assert {name for name, x in zip(STATS518, off, strict=True) if not x < 1e-4} == set()


def test_stats518_at_another_rate_assume_the_published_rate() -> None:
    waveform = signal("beats", sample_rate=44_100, duration_s=2.0)
    expected = fma_by_librosa(waveform, 44_100)
    got = stats518.extract(waveform, stats518.Config(sample_rate=44_100))
    off = deviations(got, expected, floor518(expected))
    assert {name for name, x in zip(STATS518, off, strict=True) if not x < 1e-4} == set()


def test_stats57_have_the_tempo_of_a_click_track() -> None:
    rng = np.random.default_rng(0)
    waveform = np.zeros(RATE_HZ * 8, np.float32)
    for start in range(0, len(waveform) - 500, RATE_HZ // 2):
        waveform[start : start + 500] = rng.standard_normal(500)
    values = stats57.extract(waveform, stats57.Config())
    assert values[STATS57.index("tempo")] == pytest.approx(120, abs=3)


def test_silence_has_no_tempo_and_no_skewness() -> None:
    silence = np.zeros(RATE_HZ, np.float32)
    assert stats57.extract(silence, stats57.Config())[STATS57.index("tempo")] == 0
    values = stats518.extract(silence, stats518.Config())
    assert values[STATS518.index("zcr_skew_01")] == 0
    assert values[STATS518.index("zcr_kurtosis_01")] == -3


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (16, 130), (75, 128), (200, 7)])
@pytest.mark.parametrize("levels", [4, 10**6])
def test_the_running_median_is_exact(shape: tuple[int, int], levels: int) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, levels, shape).astype(np.float32)  # few levels give many ties
    expected = scipy.ndimage.median_filter(values, size=(hpss.KERNEL_SIZE, 1), mode="reflect")
    np.testing.assert_array_equal(hpss.running_median(values), expected)


def test_harmonic_and_percussive_parts_sum_to_the_waveform() -> None:
    waveform = signal("beats")
    spectrum = descriptors.stft(waveform)
    harmonic, percussive = hpss.hpss(spectrum, hop_length=512, n_samples=len(waveform))
    np.testing.assert_allclose(harmonic + percussive, waveform, atol=1e-6)


@pytest.mark.parametrize(("sample_rate", "tuning"), [(22_050, 0.0), (44_100, -0.31), (16_000, 0.2)])
def test_the_constant_q_transform_equals_librosas(sample_rate: int, tuning: float) -> None:
    waveform = signal("beats", sample_rate=sample_rate, duration_s=1.0)
    got = constant_q.constant_q(waveform, sample_rate=sample_rate, hop_length=512, tuning=tuning)
    expected = np.abs(librosa.cqt(waveform, sr=sample_rate, tuning=tuning)).T
    np.testing.assert_allclose(got, expected, atol=1e-6 * expected.max())


def test_a_sample_rate_too_low_for_the_highest_octave_raises() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 11025"):
        stats518.Config(sample_rate=8_000)


@pytest.mark.parametrize("extract", [stats57, stats518])
def test_an_empty_waveform_raises(extract: Any) -> None:
    with warnings.catch_warnings(), pytest.raises(ValueError, match="not empty"):
        extract.extract(np.zeros(0, np.float32), extract.Config())
