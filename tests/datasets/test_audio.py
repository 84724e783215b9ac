import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from chorale.datasets import audio
from chorale.datasets.audio import (
    AudioError,
    AudioHeader,
    content_hash,
    load_audio,
    read_audio_header,
    resample,
)
from chorale.datasets.decoding.sound_file import SequentialFile

RATE = 22_050


def tone(n_samples: int, *, hz: float = 440.0, sample_rate: int = RATE) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(n_samples) / sample_rate)


def wav(path: Path, samples: np.ndarray, *, rate: int = RATE, subtype: str = "PCM_16") -> Path:
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def peak_hz(waveform: np.ndarray, sample_rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform)), n=2**20))
    return float(np.argmax(spectrum) * sample_rate / 2**20)


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [
        ("a.wav", "PCM_16", 1e-4),
        ("a.wav", "PCM_24", 1e-6),
        ("a.wav", "FLOAT", 1e-7),
        ("a.au", "PCM_16", 1e-4),
        ("a.flac", "PCM_16", 1e-4),
        ("a.ogg", "VORBIS", 0.05),
        ("a.mp3", None, 0.05),
    ],
)
def test_every_format_decodes_to_the_same_waveform(
    tmp_path: Path, name: str, subtype: str | None, tolerance: float
) -> None:
    expected = tone(RATE)
    soundfile.write(tmp_path / name, expected, RATE, subtype=subtype)
    waveform, rate = load_audio(tmp_path / name)
    assert waveform.dtype == np.float32
    assert (waveform.shape, rate) == ((RATE,), RATE)
    assert np.abs(waveform - expected)[2000:-2000].max() < tolerance


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
@pytest.mark.parametrize("n_channels", [1, 2, 5])
def test_channels_are_averaged_across_decoding_blocks(
    tmp_path: Path, subtype: str, n_channels: int
) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, (300_000, n_channels)).astype(np.float32)
    path = wav(tmp_path / "a.wav", samples, subtype=subtype)
    expected = soundfile.read(path, dtype="float32", always_2d=True)[0].mean(axis=1)
    np.testing.assert_allclose(load_audio(path)[0], expected, atol=1e-6)


def test_read_header_returns_the_header(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", np.zeros((100, 2)), rate=8000)
    assert read_audio_header(path) == AudioHeader(8000, 2, 100, "WAV")
    assert read_audio_header(path).duration_s == 0.0125


def _garbage(path: Path) -> Path:
    path.write_bytes(bytes(range(256)) * 40)
    return path


def _nothing(path: Path) -> Path:
    path.touch()
    return path


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def _flac(path: Path, n_frames: int) -> Path:
    """A FLAC of 22,050 samples whose header says that there are `n_frames` of them (36 bits)."""
    soundfile.write(path, tone(RATE), RATE, format="FLAC")
    data = bytearray(path.read_bytes())
    data[21] = (data[21] & 0xF0) | (n_frames >> 32)
    data[22:26] = (n_frames & 0xFFFFFFFF).to_bytes(4, "big")
    path.write_bytes(data)
    return path


def _damaged_au(path: Path) -> Path:
    soundfile.write(path, tone(RATE), RATE)
    path.write_bytes(b"\x00" + path.read_bytes()[1:])
    return path


@pytest.mark.parametrize(
    ("make", "problem", "detail"),
    [
        (lambda p: p / "none.wav", "missing", "no such file"),
        (lambda p: _folder(p / "a.wav"), "missing", "not a file"),
        (lambda p: _pipe(p / "a.wav"), "missing", "not a file"),
        (lambda p: _nothing(p / "a.wav"), "empty", "0 bytes"),
        (lambda p: wav(p / "a.wav", np.zeros(0)), "empty", "no samples"),
        (lambda p: wav(p / "._a.wav", tone(99)), "not audio", "AppleDouble"),
        (lambda p: _garbage(p / "a.wav"), "undecodable", "not recognised"),
        (lambda p: _damaged_au(p / "a.au"), "undecodable", "not recognised"),
        (lambda p: wav(p / "a.wav", tone(99), rate=1), "absurd header", "sample rate 1 Hz"),
        (lambda p: wav(p / "a.wav", tone(9), rate=2**31 - 1), "absurd header", "sample rate"),
        (lambda p: wav(p / "a.wav", np.zeros((9, 1000))), "absurd header", "1000 channels"),
    ],
)
def test_a_bad_header_raises_before_decoding(
    tmp_path: Path, make: Callable[[Path], Path], problem: str, detail: str
) -> None:
    path = make(tmp_path)
    for read in (read_audio_header, load_audio):
        with pytest.raises(AudioError, match=detail) as caught:
            read(path)
        assert (caught.value.path, caught.value.problem) == (str(path), problem)


@pytest.mark.parametrize(
    ("value", "detail"), [(np.nan, "NaN"), (np.inf, "NaN or inf"), (1e30, "5e\\+29")]
)
def test_non_finite_and_huge_samples_raise(tmp_path: Path, value: float, detail: str) -> None:
    samples = np.zeros((400_000, 2), np.float32)
    samples[300_000, 1] = value
    path = wav(tmp_path / "a.wav", samples, subtype="FLOAT")
    assert read_audio_header(path).n_frames == 400_000
    with pytest.raises(AudioError, match=detail) as caught:
        load_audio(path)
    assert caught.value.problem == "not finite"


def test_a_header_without_a_length_gives_no_duration(tmp_path: Path) -> None:
    header = read_audio_header(_flac(tmp_path / "a.flac", 0))
    assert (header.n_frames, header.duration_s) == (None, None)


def test_a_recording_that_is_too_long_by_its_header_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _flac(tmp_path / "a.flac", 2**36 - 1)
    assert read_audio_header(path).n_frames == 2**36 - 1
    monkeypatch.setattr(SequentialFile, "read", None, raising=False)
    with pytest.raises(AudioError, match="at most 10800 s") as caught:
        load_audio(path)
    assert caught.value.problem == "too long"


def test_a_count_that_is_too_small_is_not_trusted(tmp_path: Path) -> None:
    assert len(load_audio(_flac(tmp_path / "less.flac", 5_000))[0]) == RATE


def test_a_truncated_file_gives_only_the_samples_it_has(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", tone(RATE))
    path.write_bytes(path.read_bytes()[: 44 + 2 * 1000])
    assert len(load_audio(path)[0]) == 1000
    flac = _flac(tmp_path / "a.flac", RATE)
    flac.write_bytes(flac.read_bytes()[:1000])
    with pytest.raises(AudioError, match="undecodable"):
        load_audio(flac)


def test_a_file_without_any_of_its_samples_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = wav(tmp_path / "a.wav", tone(99))
    monkeypatch.setattr(SequentialFile, "read", lambda _, out: out[:0], raising=False)
    with pytest.raises(AudioError, match="none of its 99 samples"):
        load_audio(path)


def test_too_many_samples_raise_at_any_sample_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio, "MAX_SAMPLES", RATE)
    assert len(load_audio(wav(tmp_path / "a.wav", tone(RATE)))[0]) == RATE
    with pytest.raises(AudioError, match="too long"):
        load_audio(wav(tmp_path / "b.wav", tone(RATE + 1)))


def test_an_audio_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(AudioError("a.wav", "empty", "0 bytes")))
    assert (error.path, error.problem, error.detail) == ("a.wav", "empty", "0 bytes")
    assert str(error) == "a.wav: empty (0 bytes)"


@pytest.mark.parametrize(
    ("from_rate", "to_rate"),
    [(44_100, 22_050), (48_000, 22_050), (8_000, 22_050), (44_099, 22_050), (22_051, 22_050)],
)
def test_resampling_keeps_pitch_level_and_length(
    tmp_path: Path, from_rate: int, to_rate: int
) -> None:
    path = wav(tmp_path / "a.wav", tone(from_rate, sample_rate=from_rate), rate=from_rate)
    waveform, rate = load_audio(path, sample_rate=to_rate)
    assert rate == to_rate
    assert waveform.dtype == np.float32
    assert abs(len(waveform) - to_rate) <= 2
    assert abs(peak_hz(waveform, rate) - 440) < 0.1
    assert abs(np.abs(waveform[1000:-1000]).max() - 0.5) < 0.01


def test_resampling_removes_frequencies_above_the_new_nyquist() -> None:
    high = tone(44_100, hz=15_000, sample_rate=44_100).astype(np.float32)
    assert np.abs(resample(high, 44_100, 22_050)[500:-500]).max() < 5e-3


@pytest.mark.parametrize("from_rate", [44_100, 44_099, 22_051, 8_000, 384_000])
def test_resampling_is_exact_at_any_ratio(from_rate: int) -> None:
    wanted = tone(22_050, hz=440, sample_rate=22_050)
    got = resample(tone(from_rate, hz=440, sample_rate=from_rate), from_rate, 22_050)
    assert len(got) == 22_050
    assert np.abs(got - wanted)[500:-500].max() < 1e-3


def test_resampling_a_very_short_clip_keeps_one_sample() -> None:
    assert len(resample(np.ones(2, np.float32), 384_000, 8_000)) == 1


@pytest.mark.parametrize("sample_rate", [RATE, 16_000])
def test_files_of_any_sample_rate_are_read_without_importing_torch(
    tmp_path: Path, sample_rate: int
) -> None:
    path = wav(tmp_path / "a.wav", tone(RATE))
    code = (
        "import sys; from chorale.datasets.audio import load_audio; "
        f"load_audio({str(path)!r}, sample_rate={sample_rate}); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'torchaudio', 'librosa')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_content_hash_is_the_sha256_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert content_hash(tmp_path / "a").startswith("ba7816bf8f01cfea")
    with pytest.raises(AudioError, match="missing"):
        content_hash(tmp_path / "b")
