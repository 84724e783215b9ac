"""Contract tests of every feature set; mel, mfcc and stft are compared with librosa."""

import warnings
from collections.abc import Callable
from typing import Any, cast

import librosa
import numpy as np
import pytest
from pydantic import ValidationError

from chorale.datasets import features, plugins
from chorale.datasets.base import FeatureSet
from chorale.datasets.config import read_config, to_plain_values
from chorale.datasets.dsp import mel_power
from chorale.datasets.dsp.mel_config import MelConfig
from chorale.datasets.dsp.mel_spectrogram import mel_filters
from chorale.datasets.features import mel, mfcc, mfcc_statistics, spectrogram_image, stft
from tests.search.encoders import add_musicnn


def load(name: str) -> FeatureSet:
    return cast(FeatureSet, plugins.load_plugin(features, name, kind="feature set"))


def signal(kind: str, sample_rate: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    n = sample_rate
    time_s = np.arange(n) / sample_rate
    waveforms = {
        "noise": 0.3 * rng.standard_normal(n),
        "tones": 0.4 * np.sin(2 * np.pi * 440 * time_s) + 0.1 * np.sin(2 * np.pi * 3001 * time_s),
        "quiet": 1e-5 * rng.standard_normal(n),
        "loud tone with an offset": 0.2 + 0.8 * np.sin(2 * np.pi * 97 * time_s),
        "short": 0.3 * rng.standard_normal(300),
        "one sample": np.array([0.5]),
        "silence": np.zeros(n),
        "impulse": np.eye(1, n, n // 3)[0],
        "fade": rng.standard_normal(n) * np.exp(-20 * time_s),
        "loud beside quiet": np.where(time_s < 0.5, 1, 1e-4) * rng.standard_normal(n),
    }
    return np.asarray(waveforms[kind], dtype=np.float32)


SIGNALS = (
    "noise",
    "tones",
    "quiet",
    "loud tone with an offset",
    "short",
    "one sample",
    "silence",
    "impulse",
    "fade",
    "loud beside quiet",
)
SHAPES: tuple[dict[str, Any], ...] = (
    {},
    {"sample_rate": 16_000, "n_fft": 1024, "hop_length": 160, "n_mels": 64},
    {"sample_rate": 8_000, "n_fft": 512, "hop_length": 128, "n_mels": 40},
    {"sample_rate": 44_100, "hop_length": 1024, "f_min": 20.0, "f_max": 16_000.0, "n_mels": 128},
    {"sample_rate": 32_000, "n_fft": 800, "hop_length": 320, "n_mels": 64, "f_min": 50.0},
    {"sample_rate": 22_050, "n_fft": 401, "hop_length": 401, "n_mels": 20},
)


def by_librosa(waveform: np.ndarray, config: MelConfig) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of waveforms shorter than a window
        power = librosa.feature.melspectrogram(
            y=waveform,
            sr=config.sample_rate,
            n_fft=config.n_fft,
            hop_length=config.hop_length,
            n_mels=config.n_mels,
            fmin=config.f_min,
            fmax=config.f_max,
        )
    return np.asarray(librosa.power_to_db(power))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", SIGNALS)
def test_mel_equals_librosa_within_a_hundredth_of_a_db(kind: str, shape: dict[str, Any]) -> None:
    config = mel.Config(**shape)
    waveform = signal(kind, config.sample_rate)
    np.testing.assert_allclose(
        mel.extract(waveform, config), by_librosa(waveform, config), atol=0.01, rtol=0
    )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", SIGNALS)
def test_mfcc_equals_librosa_within_a_hundredth_of_a_db(kind: str, shape: dict[str, Any]) -> None:
    config = mfcc.Config(**shape)
    waveform = signal(kind, config.sample_rate)
    expected = librosa.feature.mfcc(S=by_librosa(waveform, config), n_mfcc=config.n_mfcc)
    np.testing.assert_allclose(mfcc.extract(waveform, config), expected, atol=0.01, rtol=0)


def test_mfcc_defaults_equal_librosas() -> None:
    waveform = signal("noise", 22_050)
    expected = librosa.feature.mfcc(y=waveform, sr=22_050)
    np.testing.assert_allclose(mfcc.extract(waveform, mfcc.Config()), expected, atol=0.01, rtol=0)


def test_mfcc_statistics_are_those_of_the_coefficients() -> None:
    waveform = signal("fade", 22_050)
    frames = mfcc.extract(waveform, mfcc.Config(n_mfcc=5))  # (n_mfcc, n_frames)
    steps = np.diff(frames)
    assert frames.shape[1] == 44
    expected = [frames.mean(1), frames.std(1), steps.mean(1), steps.std(1)]
    expected += [frames[:, a:b].mean(1) for a, b in ((0, 14), (14, 29), (29, 44))]
    found = mfcc_statistics.extract(waveform, mfcc_statistics.Config(n_mfcc=5))
    np.testing.assert_allclose(found, np.concatenate(expected), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["noise", "short", "one sample", "silence"])
def test_the_network_of_mfcc_statistics_gives_the_same_values(kind: str) -> None:
    import torch

    config = mfcc_statistics.Config(sample_rate=8_000, n_fft=256, hop_length=128, n_mels=40)
    waveform = signal(kind, 8_000)
    found = mfcc_statistics.network(config)(torch.from_numpy(waveform))
    expected = mfcc_statistics.extract(waveform, config)
    np.testing.assert_allclose(found.numpy(), expected[None], rtol=1e-3, atol=0.02)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_mel_filters_equal_librosas(shape: dict[str, Any]) -> None:
    from librosa.filters import mel as librosa_filters

    config = mel.Config(**shape)
    expected = librosa_filters(
        sr=config.sample_rate,
        n_fft=config.n_fft,
        n_mels=config.n_mels,
        fmin=config.f_min,
        fmax=config.f_max,
    )
    np.testing.assert_allclose(mel_filters(config), expected, atol=1e-8, rtol=1e-5)


def test_filters_too_narrow_for_any_bin_give_the_lowest_level() -> None:
    config = mel.Config(n_fft=64, hop_length=64, n_mels=128)
    waveform = signal("noise", 22_050)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = by_librosa(waveform, config)
    np.testing.assert_allclose(mel.extract(waveform, config), expected, atol=0.01, rtol=0)


@pytest.mark.parametrize("n_fft", [64, 128, 256, 401, 4096])
def test_mel_bands_equal_librosas_for_every_n_fft(n_fft: int) -> None:
    config = mel.Config(n_fft=n_fft, hop_length=50, n_mels=8)
    waveform = signal("noise", config.sample_rate)[:5003]
    np.testing.assert_allclose(
        mel.extract(waveform, config), by_librosa(waveform, config), atol=0.01, rtol=0
    )


def test_kernels_of_two_lengths_are_cached_under_two_names() -> None:
    """Or two processes that compile them at the same time could load one for the other."""
    names = [mel_power._kernel(n_fft).__qualname__ for n_fft in (256, 512)]
    assert len(set(names)) == 2


def test_a_sample_affects_only_the_frames_that_contain_it() -> None:
    config = mel.Config(n_fft=256, hop_length=50, n_mels=8)
    waveform = signal("noise", config.sample_rate)[:5003]
    other = waveform.copy()
    other[2500] += 1
    change = np.abs(mel.extract(other, config) - mel.extract(waveform, config)).max(axis=0)
    centre = 50 * np.arange(len(change))
    np.testing.assert_array_equal(change > 0.001, np.abs(centre - 2500) < 128)


@pytest.mark.parametrize(("n_fft", "hop_length"), [(1024, 512), (400, 160), (2048, 300)])
@pytest.mark.parametrize("kind", SIGNALS)
def test_stft_equals_librosa_within_a_hundredth_of_a_db(
    kind: str, n_fft: int, hop_length: int
) -> None:
    config = stft.Config(n_fft=n_fft, hop_length=hop_length)
    waveform = signal(kind, config.sample_rate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of waveforms shorter than a window
        magnitude = np.abs(librosa.stft(waveform, n_fft=n_fft, hop_length=hop_length))
    expected = librosa.amplitude_to_db(magnitude)
    audible = expected > expected.max() - 70  # below, single bins are the transform's rounding
    np.testing.assert_allclose(
        stft.extract(waveform, config)[audible], expected[audible], atol=0.01, rtol=0
    )


def test_an_image_of_the_configured_duration_has_the_configured_size() -> None:
    config = spectrogram_image.Config(height=60, width=100, duration_s=1.0, grey=False)
    picture = spectrogram_image.extract(signal("noise", config.sample_rate), config)
    assert picture.shape == (4 * 60, 100)
    assert picture.min() >= 0
    assert picture.max() <= 1


def test_an_image_has_low_frequencies_at_the_bottom_and_maximum_one() -> None:
    config = spectrogram_image.Config(duration_s=1.0, width=100)
    time_s = np.arange(config.sample_rate) / config.sample_rate
    picture = spectrogram_image.extract(np.sin(2 * np.pi * 110 * time_s).astype(np.float32), config)
    brightness = picture.mean(axis=1)
    assert brightness.argmax() > 0.9 * config.height
    assert brightness[: config.height // 2].max() < 0.3
    assert picture.max() > 0.95


def test_colours_follow_the_colour_map_and_the_grey_level() -> None:
    waveform = signal("fade", 22_050)
    config = spectrogram_image.Config(height=32, width=50, duration_s=1.0)
    grey = spectrogram_image.extract(waveform, config)
    coloured = spectrogram_image.Config(height=32, width=50, duration_s=1.0, grey=False)
    colours = spectrogram_image.extract(waveform, coloured).reshape(4, 32, 50)
    np.testing.assert_array_equal(colours[3], 1)
    darkest, brightest = grey.argmin(), grey.argmax()
    np.testing.assert_allclose(colours[:3].reshape(3, -1)[:, darkest], [0, 0, 3 / 255], atol=0.01)
    assert colours[:3].reshape(3, -1)[:, brightest].sum() > 2


# -- the contract of every feature set ------------------------------------------------------------


@pytest.fixture(scope="module")
def default_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """The default config of a feature set; an encoder needs a file, so it gets a random one."""
    import torch

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv1d(1, 4, 400, 320), torch.nn.Tanh()).requires_grad_(
        False
    )
    file = tmp_path_factory.mktemp("encoder") / "tiny.pt"
    torch.jit.trace(lambda x: net(x[:, None]).mT, torch.zeros(1, 16_000)).save(str(file))  # type: ignore[no-untyped-call]
    own: dict[str, Any] = {"path": str(file), "chunk_s": 1.0}
    needs: dict[str, dict[str, Any]] = {
        "encoder": own,
        "joined": {"parts": {"encoder": own, "mel": {}}},
        "block_input": {
            "name": "musicnn",
            "path": str(add_musicnn(tmp_path_factory.mktemp("musicnn"))),
        },
    }
    return lambda name: load(name).Config(**needs.get(name, {}))


@pytest.mark.parametrize("name", plugins.plugin_names(features))
def test_features_have_the_configured_shape_and_are_finite(
    name: str, default_of: Callable[[str], Any]
) -> None:
    feature_set = load(name)
    config = default_of(name)
    waveform = signal("noise", config.sample_rate)
    values = feature_set.extract(waveform, config)
    n_frames = len(waveform) / config.sample_rate * config.frame_rate_hz
    assert values.dtype == np.float32
    assert values.shape[0] == config.n_bins
    assert values.ndim == 1 or abs(values.shape[1] - n_frames) <= 1
    assert np.isfinite(values).all()
    assert np.ptp(values) > 0
    assert isinstance(feature_set.VERSION, int)


@pytest.mark.parametrize("name", plugins.plugin_names(features))
@pytest.mark.parametrize("kind", SIGNALS)
def test_features_are_finite_for_any_waveform(
    name: str, kind: str, default_of: Callable[[str], Any]
) -> None:
    feature_set = load(name)
    config = default_of(name)
    waveform = signal(kind, config.sample_rate)
    before = waveform.copy()
    first = feature_set.extract(waveform, config)
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, feature_set.extract(waveform, config))
    np.testing.assert_array_equal(waveform, before)


@pytest.mark.parametrize("name", plugins.plugin_names(features))
def test_a_config_round_trips_through_json(name: str, default_of: Callable[[str], Any]) -> None:
    config = default_of(name)
    assert read_config(load(name).Config, to_plain_values(config), where="here") == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hop_length": 4096}, "hop_length must be at most n_fft=2048"),
        ({"f_max": 12_000.0}, "f_max=12000.0"),
        ({"f_min": 500.0, "f_max": 400.0}, "f_min < f_max"),
        ({"n_mels": 1}, "greater than or equal to 2"),
        ({"n_mfcc": 41, "n_mels": 40}, "n_mfcc must be at most"),
    ],
)
def test_an_invalid_config_raises(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        mfcc.Config(**values)


def test_an_empty_waveform_raises() -> None:
    with pytest.raises(ValueError, match="not empty"):
        mel.extract(np.zeros(0, np.float32), mel.Config())
