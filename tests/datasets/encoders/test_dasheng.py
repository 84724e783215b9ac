"""Dasheng computes what PyTorch's transformer layers do, here at a small width.

With the real widths and random weights, its frames and those of the authors' own package (dasheng
0.0.9) differed by at most 2e-6; their weights could not be had for this test.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torchaudio.transforms import AmplitudeToDB, MelSpectrogram

from chorale.datasets.encoders import dasheng_base
from chorale.datasets.programs import dasheng_network
from chorale.datasets.programs.exported_program import ProgramError
from tests.datasets.encoders.transformer_layers import block_layer

WIDTH, N_BLOCKS, N_HEADS, N_POSITIONS = 24, 3, 4, 252


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(dasheng_network, "N_BINS", WIDTH)
    monkeypatch.setattr(dasheng_network, "N_BLOCKS", N_BLOCKS)
    monkeypatch.setattr(dasheng_network, "N_HEADS", N_HEADS)
    generator = torch.Generator().manual_seed(0)
    model = {
        name: 0.2 * torch.randn(shape, generator=generator) + name.endswith("norm.weight")
        for name, shape in dasheng_network.expected_shapes(N_POSITIONS).items()
    }
    model["init_bn.1.running_mean"] -= 30
    model["init_bn.1.running_var"] = 200 + model["init_bn.1.running_var"]
    other = {"front_end.0.spectrogram.window": torch.zeros(512)}
    path = tmp_path / dasheng_base.INFO.file_name
    torch.save({"model": {**model, **other}, "config": {"depth": N_BLOCKS}}, path)
    return path


def expected_frames(weights: dict[str, torch.Tensor], waveform: np.ndarray) -> torch.Tensor:
    mel = MelSpectrogram(16_000, n_fft=512, hop_length=160, n_mels=64)
    decibels = AmplitudeToDB(top_db=120)(mel(torch.from_numpy(waveform)[None]))[0].T
    norm = nn.BatchNorm1d(64).eval()
    norm.load_state_dict(
        {name.split(".")[-1]: t for name, t in weights.items() if name.startswith("init_bn")},
        strict=False,
    )
    columns = norm(decibels)  # (n_frames, 64)
    n = len(columns) // 4
    flat = columns[: 4 * n].unflatten(0, (n, 4)).transpose(1, 2).flatten(1)  # (n, 64 * 4)
    kernel = weights["patch_embed.proj.weight"].flatten(1)
    patches = flat @ kernel.T + weights["patch_embed.proj.bias"]
    parts = []
    for part in patches.split(N_POSITIONS):
        x = part + weights["time_pos_embed"][0, :, 0, : len(part)].T
        x = (x + weights["freq_pos_embed"][0, :, 0, 0])[None]
        for number in range(N_BLOCKS):
            x = block_layer(weights, number, N_HEADS)(x)
        parts.append(x[0])
    x = nn.functional.layer_norm(
        torch.cat(parts), (WIDTH,), weights["norm.weight"], weights["norm.bias"], 1e-6
    )
    return torch.stack([x[i : i + 5].mean(dim=0) for i in range(0, len(x), 5)])


@pytest.mark.parametrize("seconds", [1.0, 11.3])
def test_the_frames_are_those_of_the_layers(file: Path, seconds: float) -> None:
    rng = np.random.default_rng(0)
    windows = (0.1 * rng.standard_normal((2, int(16_000 * seconds)))).astype(np.float32)
    windows[1] *= np.linspace(0, 1, windows.shape[1], dtype=np.float32) ** 2
    weights = torch.load(file, weights_only=True)["model"]
    found = dasheng_base.load(file, layer="embedding", device="cpu")(windows)
    assert found.shape[2] == WIDTH
    for window, frames in zip(windows, found, strict=True):
        with torch.no_grad():
            expected = expected_frames(weights, window)
        np.testing.assert_allclose(frames, expected.numpy(), atol=1e-4)
    assert np.abs(found[0] - found[1]).max() > 0.01


def test_audio_shorter_than_a_patch_gives_one_frame(file: Path) -> None:
    run = dasheng_base.load(file, layer="embedding", device="cpu")
    found = run(np.ones((1, 300), np.float32))
    assert found.shape == (1, 1, WIDTH)
    assert np.isfinite(found).all()


def with_positions(n: int) -> dict[str, Any]:
    shapes = dasheng_network.expected_shapes(n)
    return {"model": {name: torch.zeros(shape) for name, shape in shapes.items()}}


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        ({"state": {}}, r"has no readable weights \('model'\)"),
        (lambda: with_positions(62), "has 62 positions, but 252 or 253 are expected"),
        ({"model": {"time_pos_embed": torch.zeros(1, 24, 1, 252)}}, "should be .*, but is nothing"),
    ],
)
def test_another_network_is_one_line(file: Path, checkpoint: Any, message: str) -> None:
    torch.save(checkpoint() if callable(checkpoint) else checkpoint, file)
    with pytest.raises(ProgramError, match=message):
        dasheng_base.load(file, layer="embedding", device="cpu")
