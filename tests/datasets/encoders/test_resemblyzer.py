from pathlib import Path

import numpy as np
import pytest

from chorale.datasets.encoders import resemblyzer
from chorale.datasets.programs.exported_program import ProgramError

N_SAMPLES = 25_600


def _network() -> dict[str, object]:
    import torch

    torch.manual_seed(0)
    lstm, linear = torch.nn.LSTM(40, 256, 3), torch.nn.Linear(256, 256)
    parts = {"lstm": lstm, "linear": linear}
    return {f"{part}.{k}": v for part, m in parts.items() for k, v in m.state_dict().items()}


def _saved(path: Path, content: object) -> Path:
    import torch

    torch.save(content, path)
    return path


def _noise(seed: int, level: float) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(N_SAMPLES)).astype(np.float32)


def test_weights_of_the_training_are_left_out(tmp_path: Path) -> None:
    import torch

    weights = _network() | {"similarity_weight": torch.ones(1)}
    file = _saved(tmp_path / "a.pt", {"model_state": weights, "step": 3})
    encode = resemblyzer.load(file, layer="embedding", device="cpu")
    windows = np.stack([_noise(seed, 0.1) for seed in range(40)])  # more than a batch
    vectors = encode(windows)
    assert vectors.shape == (40, 1, 256)
    assert vectors.min() == 0  # ReLU
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=2), 1, rtol=1e-5)
    np.testing.assert_allclose(encode(windows[35:36]), vectors[35:36], atol=1e-6)


def test_another_network_is_refused(tmp_path: Path) -> None:
    import torch

    weights = _network()
    missing = {name: value for name, value in weights.items() if name != "linear.bias"}
    other = weights | {"linear.bias": torch.zeros(3)}
    for content, text in [
        ({"model_state": missing}, "no such network .*linear.bias"),
        ({"model_state": other}, "'linear.bias' has another shape"),
        ([1, 2], "no such network"),
    ]:
        with pytest.raises(ProgramError, match=text):
            resemblyzer.load(_saved(tmp_path / "a.pt", content), layer="embedding", device="cpu")


class _Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("pickle ran",)


def test_no_pickle_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = _saved(tmp_path / "a.pt", {"model_state": _Hostile()})
    with pytest.raises(ProgramError, match="no such network"):
        resemblyzer.load(file, layer="embedding", device="cpu")
    assert not capsys.readouterr().out


def test_quiet_windows_are_raised_and_loud_ones_are_not() -> None:
    at_level = 10 ** (-30 / 20)
    quiet = resemblyzer.mel_frames(_noise(0, at_level / 10))
    usual = resemblyzer.mel_frames(_noise(0, at_level / 3))
    loud = resemblyzer.mel_frames(_noise(0, at_level * 10))
    assert quiet.shape == (160, 40)
    np.testing.assert_allclose(quiet, usual, rtol=1e-3)
    np.testing.assert_allclose(loud.sum() / usual.sum(), 100, rtol=0.05)
    nearly_silent = resemblyzer.mel_frames(_noise(0, at_level / 1_000))  # 60 dB below: 40 dB more
    np.testing.assert_allclose(nearly_silent.sum() / usual.sum(), 0.01, rtol=0.05)
    assert not resemblyzer.mel_frames(np.zeros(N_SAMPLES, np.float32)).any()
