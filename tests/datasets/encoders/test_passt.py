"""PaSST computes what PyTorch's transformer layers do, here at a small width.

With the real widths and random weights, its embeddings and those of the authors' own package
(hear21passt 0.0.26) differed by at most 3.1e-6; their weights could not be had for this test.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from chorale.datasets.encoders import passt_s
from chorale.datasets.programs import passt_network
from chorale.datasets.programs.exported_program import ProgramError
from chorale.datasets.programs.kaldi_mel import kaldi_filters, log_mel
from tests.datasets.encoders.transformer_layers import block_layer

WIDTH, N_BLOCKS, N_HEADS = 24, 3, 4


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(passt_network, "N_BINS", WIDTH)
    monkeypatch.setattr(passt_network, "N_BLOCKS", N_BLOCKS)
    monkeypatch.setattr(passt_network, "N_HEADS", N_HEADS)
    generator = torch.Generator().manual_seed(0)
    weights = {
        name: 0.2 * torch.randn(shape, generator=generator) + (name.endswith("norm.weight"))
        for name, shape in passt_network.expected_shapes().items()
    }
    other = {"head.1.weight": torch.zeros(527, WIDTH), "head_dist.bias": torch.zeros(527)}
    torch.save({**weights, **other}, tmp_path / passt_s.INFO.file_name)
    return tmp_path / passt_s.INFO.file_name


@pytest.mark.parametrize("seconds", [5, 10])
def test_the_embedding_is_that_of_the_layers(file: Path, seconds: int) -> None:
    rng = np.random.default_rng(0)
    windows = (0.1 * rng.standard_normal((3, 32_000 * seconds))).astype(np.float32)
    windows[1] *= np.linspace(0, 1, windows.shape[1], dtype=np.float32) ** 2
    weights = torch.load(file, weights_only=True)
    with torch.no_grad():
        spectrogram = log_mel(torch.from_numpy(windows), torch.from_numpy(kaldi_filters()))
        assert spectrogram.shape == (3, 128, 100 * seconds)
        cut = spectrogram.unfold(1, 16, 10).unfold(2, 16, 10)  # (3, 12, n_columns, 16, 16)
        kernel = weights["patch_embed.proj.weight"].flatten(1)
        patches = cut.flatten(3) @ kernel.T + weights["patch_embed.proj.bias"]
        n_columns = patches.shape[2]
        assert patches.shape == (3, 12, 10 * seconds - 1, WIDTH)
        patches = patches + weights["time_new_pos_embed"][0, :, 0, :n_columns].T
        patches = patches + weights["freq_new_pos_embed"][0, :, :, 0].T[:, None]
        tokens = [
            weights[f"{name}_token"][0, 0] + weights["new_pos_embed"][0, i]
            for i, name in enumerate(("cls", "dist"))
        ]
        x = torch.cat([torch.stack(tokens).expand(3, 2, WIDTH), patches.flatten(1, 2)], dim=1)
        for number in range(N_BLOCKS):
            x = block_layer(weights, number, N_HEADS)(x)
        norm = nn.functional.layer_norm(
            x, (WIDTH,), weights["norm.weight"], weights["norm.bias"], 1e-6
        )
        expected = (norm[:, 0] + norm[:, 1]) / 2
    found = passt_s.load(file, layer="embedding", device="cpu")(windows)
    assert found.shape == (3, 1, WIDTH)
    np.testing.assert_allclose(found[:, 0], expected.numpy(), atol=1e-4)
    assert np.abs(found[0] - found[1]).max() > 0.01


def test_another_network_is_one_line(file: Path) -> None:
    weights = torch.load(file, weights_only=True)
    weights["time_new_pos_embed"] = torch.zeros(1, WIDTH, 1, 62)
    torch.save(weights, file)
    with pytest.raises(ProgramError, match=r"'time_new_pos_embed' should be \(1, 24, 1, 99\), but"):
        passt_s.load(file, layer="embedding", device="cpu")
