from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from chorale.datasets import audio
from chorale.datasets.base import track_table
from chorale.datasets.dsp.frequency_scale import FrequencyScale
from chorale.datasets.dsp.mel_spectrogram import mel_spectrogram
from chorale.datasets.features import mel, mfcc, spectrogram_image, stft
from chorale.datasets.store.cache import build_feature_store
from chorale.datasets.store.precomputed_features import build_table_store

RATE = 8_000
MEL = mel.Config(sample_rate=RATE, n_fft=512, hop_length=128, n_mels=32)
ODD_MEL = mel.Config(sample_rate=RATE, n_fft=500, hop_length=100, n_mels=64, f_min=50)
MFCC = mfcc.Config(sample_rate=RATE, n_fft=512, hop_length=128, n_mels=32, n_mfcc=13)
STFT = stft.Config(sample_rate=RATE, n_fft=256, hop_length=128)
ODD_STFT = stft.Config(sample_rate=RATE, n_fft=255, hop_length=100)

SCALES = [
    pytest.param(mel.scale(MEL), id="mel"),
    pytest.param(mel.scale(ODD_MEL), id="mel, odd"),
    pytest.param(mfcc.scale(MFCC), id="mfcc"),
    pytest.param(stft.scale(STFT), id="stft"),
    pytest.param(stft.scale(ODD_STFT), id="stft, odd"),
]


def tone(hz: float) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(2 * RATE) / RATE)).astype(np.float32)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("hz", [300.0, 1000.0, 2900.0])
def test_the_loudest_band_is_the_one_nearest_to_a_tone(scale: FrequencyScale, hz: float) -> None:
    loudest = scale.power(tone(hz)).mean(axis=1).argmax()
    assert loudest == np.abs(scale.centers_hz - hz).argmin()
    assert (np.diff(scale.centers_hz) > 0).all()


@pytest.mark.parametrize("scale", SCALES)
def test_weighted_power_is_the_mean_square_of_the_waveform(scale: FrequencyScale) -> None:
    rng = np.random.default_rng(0)
    waveform = tone(440) + tone(1700) + rng.normal(0, 0.05, 2 * RATE).astype(np.float32)
    frames = scale.weights @ scale.power(waveform)[:, 5:-5]  # the ends contain padding
    error_db = 10 * np.log10(frames.mean() / np.square(waveform).mean())
    assert abs(error_db) < 0.2


@pytest.mark.parametrize("scale", SCALES)
def test_white_noise_has_mean_square_1_and_fluctuates(scale: FrequencyScale) -> None:
    noise = scale.white_noise(1500, np.random.default_rng(0))
    assert noise.shape == (1500, scale.n_bands)
    assert abs(10 * np.log10((noise @ scale.weights).mean())) < 0.3
    waveform = np.random.default_rng(1).standard_normal(5 * RATE).astype(np.float32)
    real = scale.power(waveform)[:, 5:-5].T
    spread, expected = (np.std(np.log(part), axis=0) for part in (noise, real))
    assert np.abs(np.log(spread / expected)).mean() < 0.1
    together, expected = (np.corrcoef(np.log(p[1:, 9]), np.log(p[:-1, 9])) for p in (noise, real))
    assert together[0, 1] == pytest.approx(expected[0, 1], abs=0.12)


def test_white_noise_depends_on_its_generator() -> None:
    first, again, other = (
        mel.scale(MEL).white_noise(7, np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("config", [MEL, ODD_MEL])
def test_band_power_equals_the_feature_set(config: mel.Config) -> None:
    waveform = tone(700)
    np.testing.assert_allclose(
        mel.scale(config).power(waveform), mel_spectrogram(waveform, config), rtol=1e-3, atol=1e-6
    )


def test_coefficients_are_levels_times_the_dct_matrix() -> None:
    waveform = tone(500) + tone(2100)
    cosines = mfcc.scale(MFCC).cosines()
    assert cosines is not None
    levels = mel.extract(waveform, MEL)
    np.testing.assert_allclose(cosines.T @ levels, mfcc.extract(waveform, MFCC), atol=1e-2)
    np.testing.assert_allclose(cosines.T @ cosines, np.eye(13), atol=1e-6)


@pytest.mark.parametrize("scale", [mel.scale(MEL), stft.scale(STFT)])
def test_levels_have_no_dct_matrix(scale: FrequencyScale) -> None:
    assert scale.cosines() is None


@pytest.mark.parametrize(
    ("feature", "config", "n_bands"),
    [("mel", MEL, 32), ("mfcc", MFCC, 32), ("stft", STFT, 129), ("spectrogram_image", None, None)],
)
def test_a_store_has_the_scale_of_its_feature_set(
    feature: str, config: Any, n_bands: int | None, tmp_path: Path
) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(440), RATE)
    tracks = track_table([{"track_id": "a", "path": str(path), "label": "x", "group": "a"}])
    tracks = tracks.assign(duration_s=2.0, content=audio.content_hash(path))
    store = build_feature_store(
        tracks, feature, config or spectrogram_image.Config(), root=tmp_path / "cache"
    )
    if n_bands is None:
        assert store.scale is None
    else:
        assert store.scale is not None
        assert store.scale.framing == config
        assert store.scale.n_bands == n_bands


def test_a_precomputed_table_has_no_scale(tmp_path: Path) -> None:
    tracks = track_table([{"track_id": "a", "label": "x", "group": "a"}]).assign(content="0")
    frame = pd.DataFrame({"tempo": [1.0]}, index=pd.Index(["a"], name="track_id"))
    assert build_table_store(tracks, "table", frame, root=tmp_path).scale is None
