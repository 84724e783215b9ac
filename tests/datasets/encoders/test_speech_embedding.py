from pathlib import Path

import numpy as np
import pytest

from chorale.datasets.encoders import speech_embedding


class _Program:
    """Stands for the two networks: frames that count up, and their sums."""

    def __init__(self, files: object) -> None:
        self.windows: list[np.ndarray] = []

    def run(self, model: int, array: np.ndarray) -> np.ndarray:
        if model == 0:
            self.windows.append(array)
            assert array.shape == (1, 1_760)
            n_before = 8 * ((len(self.windows) - 1) % 25)
            frames = np.arange(n_before, n_before + 8, dtype=np.float32)
            return frames[None, None, :, None] + np.zeros(32, np.float32)
        assert array.shape == (16, 76, 32, 1)
        first = array[:, 0, 0, 0]
        last = array[:, -1, -1, 0]
        return np.stack([first, last], axis=1)[:, None, None]


def test_embeddings_read_76_frames_every_8(monkeypatch: pytest.MonkeyPatch) -> None:
    programs = []

    def program(files: object) -> _Program:
        programs.append(_Program(files))
        return programs[0]

    monkeypatch.setattr(speech_embedding, "GuardedProgram", program)
    encode = speech_embedding.load(Path("embedding_model.tflite"), layer="embedding", device="cpu")
    windows = np.linspace(-2, 2, 64_960, dtype=np.float32).reshape(2, 32_480)
    output = encode(windows)
    assert output.shape == (2, 16, 2)
    first = 8 * np.arange(16) / 10 + 2
    np.testing.assert_allclose(output[0, :, 0], first, rtol=1e-6)
    np.testing.assert_allclose(output[1, :, 1], first + 7.5, rtol=1e-6)
    sent = np.concatenate(programs[0].windows)
    assert sent.shape == (50, 1_760)
    assert sent.min() == -32_767
    assert sent.max() == 32_767
    expected = 32_767 * windows[0, 20 * 1_280 : 20 * 1_280 + 1_760]
    np.testing.assert_allclose(sent[20], expected, rtol=1e-6)
