"""Recording conditions: each does what its name says, measured on signals with a known answer."""

import io

import numpy as np
import pytest
import soundfile

from chorale.datasets.recording.codecs import MP3, OPUS, VORBIS, Codec, through_codec
from chorale.datasets.recording.conditions import CONDITIONS
from chorale.datasets.recording.room import clipped, in_room, middle, with_noise

RATE = 22_050


def _noise(seconds: float = 4.0, *, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal(int(seconds * RATE))
    return np.asarray(0.1 * values, np.float32)


def _tone(hz: float, seconds: float = 2.0) -> np.ndarray:
    times = np.arange(int(seconds * RATE)) / RATE
    return np.asarray(0.3 * np.sin(2 * np.pi * hz * times), np.float32)


@pytest.mark.parametrize("name", CONDITIONS)
@pytest.mark.parametrize("length", [1, 50, 3 * RATE])
def test_a_condition_gives_a_finite_waveform_and_leaves_its_input_alone(
    name: str, length: int
) -> None:
    waveform = _noise()[:length]
    before = waveform.copy()
    made, rate = CONDITIONS[name].change(waveform, RATE, np.random.default_rng(0))
    assert made.dtype == np.float32
    assert made.ndim == 1
    assert len(made) >= 1
    assert np.isfinite(made).all()
    assert np.array_equal(waveform, before)
    if not name.startswith("cut"):
        assert len(made) / rate == pytest.approx(length / RATE, abs=2 / 8000), "as long as before"


@pytest.mark.parametrize("name", CONDITIONS)
def test_silence_stays_silence(name: str) -> None:
    made, _ = CONDITIONS[name].change(np.zeros(RATE, np.float32), RATE, np.random.default_rng(0))
    assert np.abs(made).max() < 1e-3


@pytest.mark.parametrize(
    ("codec", "kbit_s"),
    [(MP3, 320.0), (MP3, 128.0), (MP3, 64.0), (MP3, 32.0), (OPUS, 64.0), (OPUS, 16.0)],
)
def test_a_codec_has_its_bit_rate(
    codec: Codec, kbit_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    real = soundfile.write

    def write(file: io.BytesIO, *args: object, **more: object) -> None:
        real(file, *args, **more)
        sizes.append(len(file.getvalue()))

    monkeypatch.setattr(soundfile, "write", write)
    through_codec(_noise(5.0), RATE, codec, kbit_s)
    assert 8 * sizes[0] / 5 / 1000 == pytest.approx(kbit_s, rel=0.12)


@pytest.mark.parametrize(("codec", "kbit_s"), [(MP3, 128.0), (VORBIS, 0.5), (OPUS, 64.0)])
def test_a_tone_comes_back_at_its_place_and_level(codec: Codec, kbit_s: float) -> None:
    tone = _tone(440.0)
    made, rate = through_codec(tone, RATE, codec, kbit_s)
    again = _interpolated(made, rate)
    n = min(len(tone), len(again))
    inside = slice(n // 4, 3 * n // 4)
    a, b = tone[:n][inside], again[:n][inside]
    assert np.corrcoef(a, b)[0, 1] > 0.999, "without a delay"
    assert np.std(b) == pytest.approx(np.std(a), rel=0.06), "LAME lowers it by 5 %"


def _interpolated(waveform: np.ndarray, rate: int) -> np.ndarray:
    """At `RATE`, by linear interpolation, which is exact enough for a low tone."""
    at = np.arange(int(len(waveform) * RATE / rate)) * rate / RATE
    return np.asarray(np.interp(at, np.arange(len(waveform)), waveform))


@pytest.mark.parametrize("snr_db", [30.0, 10.0])
def test_noise_has_its_level(snr_db: float) -> None:
    tone = _tone(440.0)
    added = with_noise(tone, snr_db, np.random.default_rng(0)) - tone
    measured = 20 * np.log10(np.std(tone) / np.std(added))
    assert measured == pytest.approx(snr_db, abs=0.2)
    spectrum = np.abs(np.fft.rfft(added)) ** 2
    low, high = np.split(spectrum[1 : 2 * ((len(spectrum) - 1) // 2) + 1], 2)
    assert low.mean() == pytest.approx(high.mean(), rel=0.05), "white"


@pytest.mark.parametrize("seconds", [0.3, 1.2])
def test_a_room_decays_by_60_db_in_its_reverberation_time(seconds: float) -> None:
    click = np.zeros(3 * RATE, np.float32)
    click[0] = 0.5
    made = in_room(click, RATE, seconds, np.random.default_rng(1)).astype(float)
    energy = np.cumsum(made[::-1] ** 2)[::-1]  # Schroeder's backward integral
    decay_db = 10 * np.log10(energy[1 : int(0.8 * seconds * RATE)] / energy[1])
    times = np.arange(len(decay_db)) / RATE
    part = (decay_db < -5) & (decay_db > -25)
    slope = np.polyfit(times[part], decay_db[part], 1)[0]
    assert -60 / slope == pytest.approx(seconds, rel=0.08)
    direct, tail = made[0] ** 2, np.sum(made[1:] ** 2)
    assert tail / direct == pytest.approx(1.0, rel=0.1), "the critical distance"
    noise = _noise()
    again = in_room(noise, RATE, seconds, np.random.default_rng(1))
    assert np.std(again) == pytest.approx(np.std(noise), rel=0.01), "at the level it had"


def test_clipping_clips_its_share_and_nothing_else() -> None:
    noise = _noise()
    made = clipped(noise, 0.1)
    changed = made != noise
    assert changed.mean() == pytest.approx(0.1, abs=0.001)
    assert np.abs(made[changed]) == pytest.approx(np.abs(made).max())


def test_the_middle_is_the_middle_and_a_short_recording_stays() -> None:
    ramp = np.arange(10 * RATE, dtype=np.float32)
    made = middle(ramp, RATE, 3.0)
    assert len(made) == 3 * RATE
    assert made.mean() == pytest.approx(ramp.mean(), rel=1e-4)
    assert np.array_equal(middle(ramp, RATE, 20.0), ramp)


def test_another_generator_gives_another_room_and_the_same_one_the_same() -> None:
    noise = _noise()
    for name in ("room_small", "noise_20"):
        made = [
            CONDITIONS[name].change(noise, RATE, np.random.default_rng(seed))[0]
            for seed in (0, 0, 1)
        ]
        assert np.array_equal(made[0], made[1])
        assert not np.allclose(made[0], made[2])
