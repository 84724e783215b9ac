from pathlib import Path

import numpy as np
import pytest
import soundfile

from chorale.datasets.audio import decode_audio, load_audio
from chorale.datasets.decoding.mixdown import MIN_CANCELLED_SHARE, Mixdown

RATE = 8_000


def noise(seconds: float, seed: int) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(int(seconds * RATE))


def stereo(path: Path, left: np.ndarray, right: np.ndarray, *, subtype: str = "PCM_16") -> Path:
    soundfile.write(path, np.stack([left, right], axis=1), RATE, subtype=subtype)
    return path


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
@pytest.mark.parametrize("gain", [-1.0, -0.8, -1.25])
def test_an_inverted_channel_is_not_lost(tmp_path: Path, subtype: str, gain: float) -> None:
    left, other = noise(12, 0), noise(12, 1)  # three blocks
    path = stereo(tmp_path / "a.wav", left, gain * left + 0.1 * other, subtype=subtype)
    channels = soundfile.read(path, dtype="float32")[0]
    found = decode_audio(path)
    assert found.cancelled_share > 0.9
    np.testing.assert_array_equal(found.waveform, channels[:, int(abs(gain) > 1)])


def test_a_part_in_opposite_phase_is_not_lost(tmp_path: Path) -> None:
    left = noise(60, 0)
    sign = np.ones(len(left))
    sign[15 * RATE : 45 * RATE] = -1
    path = stereo(tmp_path / "a.wav", left, sign * left)
    found = decode_audio(path)
    assert 0.3 < found.cancelled_share < 0.7
    np.testing.assert_array_equal(found.waveform, soundfile.read(path, dtype="float32")[0][:, 0])


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
@pytest.mark.parametrize("correlation", [-0.8, 0.0, 1.0])
def test_ordinary_and_wide_stereo_is_mixed_as_a_mean(
    tmp_path: Path, subtype: str, correlation: float
) -> None:
    left = noise(12, 0)
    right = correlation * left + np.sqrt(1 - correlation**2) * noise(12, 1)
    path = stereo(tmp_path / "a.wav", left, right, subtype=subtype)
    found = decode_audio(path)
    channels = soundfile.read(path, dtype="float32")[0]
    assert found.cancelled_share == 0
    halves = np.float32(0.5) * channels  # exact: every sample is as the sum of scaled channels
    np.testing.assert_array_equal(found.waveform, halves[:, 0] + halves[:, 1])


def test_a_short_part_in_opposite_phase_is_left(tmp_path: Path) -> None:
    left = noise(60, 0)
    right = left.copy()
    right[:4096] *= -1  # one block
    assert decode_audio(stereo(tmp_path / "a.wav", left, right)).cancelled_share == 0


def test_the_mean_of_silent_channels_is_silent(tmp_path: Path) -> None:
    found = decode_audio(stereo(tmp_path / "a.wav", np.zeros(RATE), np.zeros(RATE)))
    assert (bool(found.waveform.any()), found.cancelled_share) == (False, 0.0)


@pytest.mark.parametrize("n_channels", [2, 3, 6])
def test_cancelling_channels_of_any_number_leave_the_loudest(n_channels: int) -> None:
    block = np.random.default_rng(0).standard_normal((1000, n_channels)).astype(np.float32)
    block[:, -1] = -block[:, :-1].sum(axis=1)
    mixdown = Mixdown(n_channels, full_scale=1.0)
    out = np.empty(1000, np.float32)
    mixdown.mix(block, out=out)
    assert mixdown.cancelled_share == pytest.approx(1)
    loudest = n_channels - 1
    assert mixdown.channel_instead() == (loudest if n_channels > 2 else 0)
    uncorrelated = Mixdown(n_channels, full_scale=1.0)
    block[:, -1] = np.random.default_rng(1).standard_normal(1000)
    uncorrelated.mix(block, out=out)
    assert (uncorrelated.cancelled_share, uncorrelated.channel_instead()) == (0, None)


def test_the_share_is_that_of_the_energy_of_cancelled_blocks() -> None:
    mixdown = Mixdown(2, full_scale=1.0)
    out = np.empty(4, np.float32)
    ones = np.ones((4, 2), np.float32)
    opposite = ones * np.array([1, -1], np.float32)
    mixdown.mix(4 * ones, out=out)  # 16 times the energy
    mixdown.mix(opposite, out=out)
    assert mixdown.cancelled_share == pytest.approx(1 / 17)
    assert mixdown.channel_instead() is None
    for _ in range(4):
        mixdown.mix(opposite, out=out)
    assert mixdown.cancelled_share == pytest.approx(5 / 21)
    assert mixdown.cancelled_share > MIN_CANCELLED_SHARE
    assert mixdown.channel_instead() == 0


def test_the_waveform_of_opposite_channels_is_the_same_each_time(tmp_path: Path) -> None:
    left = noise(12, 0)
    path = stereo(tmp_path / "a.wav", left, -left)
    np.testing.assert_array_equal(load_audio(path)[0], load_audio(path)[0])
