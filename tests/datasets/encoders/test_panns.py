"""CNN14 computes what layers of PyTorch and librosa's spectrogram do, here at a small width.

With the real widths and random weights, its embeddings and those of the authors' own package
(panns-inference 0.1.1) differed by at most 3.6e-7; their weights could not be had for this test.
"""

from pathlib import Path

import librosa
import numpy as np
import pytest
import torch
from librosa.filters import mel as mel_filters
from torch import nn

from chorale.datasets.programs import panns_network
from chorale.datasets.programs.exported_program import ProgramError
from chorale.datasets.programs.panns_network import load_cnn14

RATE, N_SAMPLES = 32_000, 20_000


def _network() -> nn.ModuleDict:
    torch.manual_seed(0)
    widths = panns_network.WIDTHS
    parts: dict[str, nn.Module] = {"bn0": nn.BatchNorm2d(64)}
    for number, (before, width) in enumerate(zip((1, *widths[:-1]), widths, strict=True), 1):
        parts[f"conv_block{number}"] = nn.ModuleDict(
            {
                "conv1": nn.Conv2d(before, width, 3, padding=1, bias=False),
                "conv2": nn.Conv2d(width, width, 3, padding=1, bias=False),
                "bn1": nn.BatchNorm2d(width),
                "bn2": nn.BatchNorm2d(width),
            }
        )
    parts["fc1"] = nn.Linear(widths[-1], panns_network.N_BINS)
    network = nn.ModuleDict(parts)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for one in (module.weight.data, module.bias.data, module.running_mean):
                assert one is not None
                one.normal_(0.5, 0.3)
            assert module.running_var is not None
            module.running_var.uniform_(0.5, 2)
    return network.eval()


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(panns_network, "WIDTHS", (2, 3, 4, 5, 6, 7))
    monkeypatch.setattr(panns_network, "N_BINS", 9)
    mel = mel_filters(sr=RATE, n_fft=1024, n_mels=64, fmin=50, fmax=14_000)
    weights = {**_network().state_dict(), "logmel_extractor.melW": torch.tensor(mel.T)}
    torch.save({"model": weights, "iteration": 1}, tmp_path / "cnn14.pth")
    return tmp_path / "cnn14.pth"


def test_the_embedding_is_that_of_the_layers(checkpoint: Path) -> None:
    windows = np.random.default_rng(0).uniform(-0.5, 0.5, (3, N_SAMPLES)).astype(np.float32)
    network = _network()
    power = librosa.feature.melspectrogram(
        y=windows, sr=RATE, n_fft=1024, hop_length=320, n_mels=64, fmin=50, fmax=14_000,
        pad_mode="reflect",
    )  # fmt: skip
    decibels = librosa.power_to_db(power, amin=1e-10, top_db=None)
    with torch.inference_mode():
        x = torch.tensor(decibels, dtype=torch.float32)[:, :, :, None]  # (n, 64, n_frames, 1)
        x = network["bn0"](x).permute(0, 3, 2, 1)
        for number in range(1, 7):
            block = network[f"conv_block{number}"]
            assert isinstance(block, nn.ModuleDict)
            x = torch.relu(block["bn1"](block["conv1"](x)))
            x = torch.relu(block["bn2"](block["conv2"](x)))
            x = nn.functional.avg_pool2d(x, 2) if number < 6 else x
        x = x.mean(dim=3)
        expected = torch.relu(network["fc1"](x.max(dim=2).values + x.mean(dim=2)))
    found = load_cnn14(checkpoint, device="cpu")(windows)
    assert found.shape == (3, 1, 9)
    assert np.ptp(found) > 0
    np.testing.assert_allclose(found[:, 0], expected.numpy(), atol=1e-4)


def test_another_network_and_a_damaged_file_are_one_line(checkpoint: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    del content["model"]["conv_block3.bn2.bias"]
    torch.save(content, checkpoint)
    with pytest.raises(ProgramError, match=r"'conv_block3.bn2.bias' should be \(4,\), but is noth"):
        load_cnn14(checkpoint, device="cpu")
    checkpoint.write_bytes(b"damaged")
    with pytest.raises(ProgramError, match="has no readable weights"):
        load_cnn14(checkpoint, device="cpu")
