"""musicnn with random weights, against NumPy and librosa, and with the real ones."""

from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from chorale.datasets.encoders import musicnn, musicnn_msd
from chorale.datasets.pretrained.installed import is_fetched, require_fetched
from chorale.datasets.programs import musicnn_network
from chorale.datasets.programs.exported_program import ProgramError
from tests.datasets.programs.checkpoint_files import write_checkpoint

KERNELS = [
    (7, 38, 1, 204),
    (7, 67, 1, 204),
    (128, 1, 1, 51),
    (64, 1, 1, 51),
    (32, 1, 1, 51),
    (7, 561, 1, 64),
    (7, 64, 1, 64),
    (7, 64, 1, 64),
]
NORMALISED = [1, 204, 204, 51, 51, 51, 64, 64, 64, 1506, 200]


def numbered(name: str, i: int) -> str:
    return f"{name}_{i}" if i else name


@pytest.fixture(scope="module")
def tensors() -> dict[str, Any]:
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Any:
        return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]))).astype(np.float32)

    made = {}
    for i, shape in enumerate(KERNELS):
        made[f"{numbered('conv2d', i)}/kernel"] = normal(*shape)
        made[f"{numbered('conv2d', i)}/bias"] = normal(shape[-1])
    made["dense/kernel"], made["dense/bias"] = normal(1506, 200), normal(200)
    made["dense_1/kernel"], made["dense_1/bias"] = normal(200, 50), normal(50)
    for i, n in enumerate(NORMALISED):
        name = numbered("batch_normalization", i)
        for part in ("gamma", "beta", "moving_mean"):  # a factor below 0 makes minima count
            made[f"{name}/{part}"] = normal(1, n)[0]
        made[f"{name}/moving_variance"] = np.abs(normal(1, n)[0])
    return made


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory, tensors: dict[str, Any]) -> Path:
    folder = tmp_path_factory.mktemp("musicnn")
    write_checkpoint(folder, tensors)
    musicnn.convert(folder)
    return folder / musicnn.INFO.file_name


@pytest.fixture(scope="module")
def windows() -> Any:
    rng = np.random.default_rng(1)
    return (0.2 * rng.standard_normal((3, 48_000))).astype(np.float32)


def by_hand(waveform: Any, tensors: dict[str, Any]) -> tuple[Any, Any]:
    """Both layers of one window, in float64 and in the checkpoint's own order of axes."""

    def normalised(i: int, values: Any) -> Any:
        name = numbered("batch_normalization", i)
        gamma, beta, mean, variance = (
            tensors[f"{name}/{part}"].astype(np.float64)
            for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return (values - mean) / np.sqrt(variance + 0.001) * gamma + beta

    def convolved(i: int, image: Any) -> Any:
        """(time, frequency) -> (time, frequency, channels), padded along time."""
        kernel = tensors[f"{numbered('conv2d', i)}/kernel"][:, :, 0].astype(np.float64)
        length = len(kernel)
        padded = np.pad(image, (((length - 1) // 2, length // 2), (0, 0)))
        views = sliding_window_view(padded, kernel.shape[:2])
        out = np.tensordot(views, kernel, 2) + tensors[f"{numbered('conv2d', i)}/bias"]
        return normalised(i + 1, np.maximum(out, 0))

    mel = librosa.feature.melspectrogram(
        y=waveform.astype(np.float64), sr=16_000, n_fft=512, hop_length=256, n_mels=96
    )
    image = normalised(0, np.log10(10_000 * mel.T[:187] + 1))
    front = np.concatenate([convolved(i, image).max(1) for i in range(5)], 1)
    first = convolved(5, front)[:, 0]
    second = convolved(6, first)[:, 0] + first
    third = convolved(7, second)[:, 0] + second
    features = np.concatenate([front, first, second, third], 1)
    pairs = np.stack([features.max(0), features.mean(0)], 1).reshape(-1)
    dense = normalised(9, pairs) @ tensors["dense/kernel"] + tensors["dense/bias"]
    pooled = np.concatenate([features.mean(0), features.max(0)])
    return pooled, normalised(10, np.maximum(dense, 0))


@pytest.mark.parametrize("layer", musicnn.INFO.layers)
def test_layers_equal_a_computation_by_hand(
    converted: Path, windows: Any, tensors: dict[str, Any], layer: str
) -> None:
    found = musicnn.load(converted, layer=layer, device="cpu")(windows)
    assert found.shape == (3, 1, musicnn.INFO.layers[layer])
    assert found.dtype == np.float32
    at = list(musicnn.INFO.layers).index(layer)
    wanted = np.stack([by_hand(window, tensors)[at] for window in windows])
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(found[:, 0] / scale, wanted / scale, atol=2e-5)


def test_a_window_does_not_depend_on_the_others(converted: Path, windows: Any) -> None:
    run = musicnn.load(converted, layer="penultimate", device="cpu")
    np.testing.assert_allclose(run(windows)[2:], run(windows[2:]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("value", [0.0, 1.0, -1e30, 3e38])
def test_any_finite_waveform_gives_finite_numbers(converted: Path, value: float) -> None:
    run = musicnn.load(converted, layer="penultimate", device="cpu")
    assert np.isfinite(run(np.full((1, 48_000), value, np.float32))).all()


def test_another_network_is_refused(tmp_path: Path, tensors: dict[str, Any]) -> None:
    write_checkpoint(tmp_path, tensors | {"conv2d_1/bias": np.zeros(3, np.float32)})
    with pytest.raises(ProgramError, match=r"differs in 'timbral_67\.bias'"):
        musicnn.convert(tmp_path)
    write_checkpoint(tmp_path, {"a": np.zeros(3, np.float32), "b": np.zeros(3, np.float32)})
    with pytest.raises(ProgramError, match="no float32 tensor 'conv2d/kernel'"):
        musicnn.convert(tmp_path)


def test_a_damaged_file_is_refused(tmp_path: Path, converted: Path) -> None:
    file = tmp_path / "damaged.safetensors"
    for content in (b"", b"x" * 100, converted.read_bytes()[:-4]):
        file.write_bytes(content)
        with pytest.raises(ProgramError, match="is damaged"):
            musicnn.load(file, layer="pooled", device="cpu")


def sweep() -> Any:
    """Three seconds of a tone that rises from 200 Hz to 5 kHz, with a second one above it."""
    t = np.arange(48_000) / 16_000
    phase = 2 * np.pi * (200 * t + 800 * t**2)
    return (0.3 * np.sin(phase) + 0.1 * np.sin(2.5 * phase)).astype(np.float32)[None]


# of the graph and the checkpoint in the package, run by TensorFlow 2.21 on `sweep`'s spectrogram
FROM_TENSORFLOW = {
    "musicnn": [2.19756, 3.03244, 1.58946, -0.18606, -0.0787, 2.77503],
    "musicnn_msd": [0.8605, -0.12703, 0.06557, -0.27512, 0.66797, 0.84084],
}


@pytest.mark.parametrize("encoder", [musicnn, musicnn_msd], ids=["musicnn", "musicnn_msd"])
def test_the_real_weights_give_the_values_of_tensorflow(encoder: Any) -> None:
    name = encoder.INFO.name
    if not is_fetched(name):
        pytest.skip(f"needs weights; type: chorale encoder fetch {name}")
    run = encoder.load(require_fetched(name), layer="penultimate", device="cpu")
    np.testing.assert_allclose(run(sweep())[0, 0, :6], FROM_TENSORFLOW[name], atol=1e-4)


def test_the_network_has_the_sizes_that_its_metadata_state() -> None:
    for encoder in (musicnn, musicnn_msd):
        assert encoder.INFO.layers == musicnn_network.LAYERS
        assert encoder.INFO.window_s == 3
