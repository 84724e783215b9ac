"""The frozen part of an encoder and its last blocks compute what the whole encoder does.

With random weights, of networks that are narrow except for musicnn.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from chorale.datasets.base import EncoderInfo
from chorale.datasets.encoders import mert_v1_95m
from chorale.datasets.pretrained.installed import (
    encoder_info,
    encoder_module,
    is_fetched,
    require_fetched,
)
from chorale.datasets.programs import panns_network
from chorale.datasets.programs.exported_program import ProgramError
from chorale.datasets.programs.last_blocks import FixedNorm, join_windows, split_windows
from tests.datasets.encoders.test_waveform_transformers import BUNDLES, small_network
from tests.search.encoders import add_musicnn

CASES = [
    *(("musicnn", "pooled", n) for n in (1, 3)),
    *(("musicnn", "penultimate", n) for n in (1, 2, 4)),
    *(("panns_cnn14", "embedding", n) for n in range(1, 7)),
    *((name, "layer_3", n) for name in (*BUNDLES, "mert_v1_95m") for n in (1, 2)),
    *((name, "layer_12", 4) for name in ("hubert_base", "wavlm_base")),
]


def panns_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """CNN14 with few channels."""
    monkeypatch.setattr(panns_network, "WIDTHS", (2, 3, 4, 5, 6, 7))
    monkeypatch.setattr(panns_network, "N_BINS", 9)
    torch.manual_seed(0)
    weights = {}
    for name, shape in panns_network.expected_shapes().items():
        weights[name] = torch.rand(shape) + 0.5 if len(shape) == 1 else torch.randn(shape) / 3
    weights["logmel_extractor.melW"] = torch.rand(513, 64) / 513
    file = folder / "cnn14.pth"
    torch.save({"model": weights}, file)
    return file


def encoder_file(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of the encoder with random weights."""
    if name == "musicnn":
        return add_musicnn(folder)
    if name == "panns_cnn14":
        return panns_file(folder, monkeypatch)
    if name != "mert_v1_95m":
        file = folder / encoder_info(name).file_name
        torch.save(small_network(name, monkeypatch).state_dict(), file)
        return file
    file = folder / mert_v1_95m.INFO.file_name
    # the file has other names; that they are translated is tested with the encoder
    monkeypatch.setattr(mert_v1_95m, "torchaudio_names", dict)
    torch.save(small_network("hubert_base", monkeypatch).state_dict(), file)
    return file


def window(info: EncoderInfo) -> np.ndarray:
    """Two windows of noise: (2, n_samples)."""
    n_samples = round((info.window_s or 1.3) * info.sample_rate)
    rng = np.random.default_rng(0)
    return rng.uniform(-0.5, 0.5, (2, n_samples)).astype(np.float32)


@pytest.mark.parametrize(("name", "layer", "n_blocks"), CASES)
def test_the_frozen_part_and_the_last_blocks_are_the_encoder(
    name: str, layer: str, n_blocks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = encoder_file(name, tmp_path, monkeypatch)
    encoder, windows = encoder_module(name), window(encoder_info(name))
    whole = encoder.load(file, layer=layer, device="cpu")(windows)
    run = encoder.load_block_input(file, layer=layer, n_blocks=n_blocks, device="cpu")
    frames = torch.from_numpy(run(windows)).transpose(1, 2)
    blocks: Any = encoder.last_blocks(file, layer=layer, n_blocks=n_blocks).eval()
    assert len(blocks.blocks) == n_blocks
    with torch.inference_mode():
        found = blocks(frames).transpose(1, 2).numpy()
    assert np.ptp(whole) > 0.1
    np.testing.assert_allclose(found, whole, atol=1e-5 * max(1.0, float(np.abs(whole).max())))

    other = encoder.last_blocks(None, layer=layer, n_blocks=n_blocks).eval()
    with torch.inference_mode():
        assert not np.allclose(other(frames).transpose(1, 2).numpy(), whole, atol=1e-2)
        other.load_state_dict(blocks.state_dict())
        np.testing.assert_array_equal(other(frames), blocks(frames))


@pytest.mark.parametrize(("name", "layer", "n_blocks"), [*CASES[:3], CASES[6], *CASES[-2:]])
def test_every_block_is_trained_and_no_statistic_of_a_norm_changes(
    name: str, layer: str, n_blocks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = encoder_file(name, tmp_path, monkeypatch)
    encoder = encoder_module(name)
    run = encoder.load_block_input(file, layer=layer, n_blocks=n_blocks, device="cpu")
    frames = torch.from_numpy(run(window(encoder_info(name)))).transpose(1, 2)
    blocks: Any = encoder.last_blocks(file, layer=layer, n_blocks=n_blocks).train()
    buffers = {name: value.clone() for name, value in blocks.named_buffers()}
    blocks(frames).square().sum().backward()
    for block in blocks.blocks:
        gradients = [p.grad for p in block.parameters() if p.requires_grad]
        assert gradients
        assert all(one is not None and bool(one.isfinite().all()) for one in gradients)
        assert any(bool(one.abs().max() > 0) for one in gradients if one is not None)
    for key, value in blocks.named_buffers():
        assert torch.equal(value, buffers[key])


def test_wavlm_keeps_its_table_of_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    small_network("wavlm_base", monkeypatch)
    made = encoder_module("wavlm_base").last_blocks(None, layer="layer_6", n_blocks=2)
    fixed = [name for name, one in made.named_parameters() if not one.requires_grad]
    assert fixed == ["blocks.0.attention.rel_attn_embed.weight"]


@pytest.mark.parametrize("name", ["musicnn", "panns_cnn14", "hubert_base", "mert_v1_95m"])
def test_a_file_of_another_network_is_one_line(name: str, tmp_path: Path) -> None:
    info = encoder_info(name)
    file = tmp_path / info.file_name
    layer = next(iter(info.blocks))
    file.write_bytes(b"not a network")
    contents: list[Any] = [None]
    if not name.startswith("musicnn"):
        contents.append({"model": {"a": torch.zeros(2)}, "b": torch.zeros(2)})
    for content in contents:
        if content is not None:
            torch.save(content, file)
        with pytest.raises(ProgramError) as caught:
            encoder_module(name).last_blocks(file, layer=layer, n_blocks=1)
        assert "\n" not in str(caught.value)


def test_the_real_musicnn_is_its_frozen_part_and_its_last_blocks() -> None:
    if not is_fetched("musicnn"):
        pytest.skip("needs weights; type: chorale encoder fetch musicnn")
    encoder, file = encoder_module("musicnn"), require_fetched("musicnn")
    windows = window(encoder.INFO)
    for layer, n_blocks in (("pooled", 1), ("penultimate", 4)):
        whole = encoder.load(file, layer=layer, device="cpu")(windows)
        run = encoder.load_block_input(file, layer=layer, n_blocks=n_blocks, device="cpu")
        blocks = encoder.last_blocks(file, layer=layer, n_blocks=n_blocks).eval()
        with torch.inference_mode():
            found = blocks(torch.from_numpy(run(windows)).transpose(1, 2))
        wanted = torch.from_numpy(whole).transpose(1, 2)
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max()))


@pytest.mark.parametrize(
    ("n", "expected"), [(187, (1, 187)), (374, (2, 187)), (100, (1, 100)), (500, (3, 166))]
)
def test_a_crop_is_cut_into_windows_of_about_the_encoders_length(
    n: int, expected: tuple[int, int]
) -> None:
    x = torch.arange(2 * 3 * n, dtype=torch.float32).view(2, 3, n)
    cut = split_windows(x, 187)
    n_windows, length = expected
    assert cut.shape == (2 * n_windows, 3, length)
    for i in range(n_windows):
        assert torch.equal(cut[n_windows + i], x[1, :, i * length : (i + 1) * length])
    means = join_windows(cut.mean(2), 2)
    assert means.shape == (2, 3, n_windows)
    assert torch.equal(means[1, 2, 0], x[1, 2, :length].mean())


def test_a_fixed_norm_is_a_batch_norm_in_evaluation_also_while_training() -> None:
    torch.manual_seed(0)
    norm, fixed = nn.BatchNorm1d(3, eps=1e-3), FixedNorm(3, eps=1e-3).train()
    norm(torch.randn(8, 3) * 3 + 1)
    state = {key: one for key, one in norm.state_dict().items() if key != "num_batches_tracked"}
    fixed.load_state_dict(state)
    x = torch.randn(4, 3)
    torch.testing.assert_close(fixed(x), norm.eval()(x))
