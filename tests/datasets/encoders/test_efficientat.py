"""mn10 of EfficientAT computes what torchvision's MobileNetV3 and torchaudio's filters do.

The published file has 312 tensors with 4,901,277 numbers (so several projects record), and so has
the network here; its weights could not be had for this test.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchaudio
from torch import nn

from chorale.datasets.encoders import efficientat_mn10
from chorale.datasets.programs.exported_program import ProgramError
from chorale.datasets.programs.kaldi_mel import kaldi_filters

N_PUBLISHED_TENSORS, N_PUBLISHED_NUMBERS = 312, 4_901_277


class SqueezeExcitation(nn.Module):
    """With dense layers and a sigmoid, unlike torchvision's."""

    def __init__(self, n_channels: int, _: int, **__: object) -> None:
        from torchvision.models import mobilenetv3

        super().__init__()
        narrow = mobilenetv3._make_divisible(n_channels // 4, 8)
        dense = {"fc1": nn.Linear(n_channels, narrow), "fc2": nn.Linear(narrow, n_channels)}
        self.conc_se_layers = nn.ModuleList([nn.ModuleDict(dense)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dense: Any = self.conc_se_layers[0]
        scale = dense["fc2"](dense["fc1"](x.mean((2, 3))).relu()).sigmoid()
        scaled: torch.Tensor = x * scale[:, :, None, None]
        return scaled


@pytest.fixture(scope="module")
def reference() -> Any:
    from torchvision.models import mobilenetv3  # here, as every process collects this file

    torch.manual_seed(0)
    settings, last_channel = mobilenetv3._mobilenet_v3_conf("mobilenet_v3_large")
    block = partial(mobilenetv3.InvertedResidual, se_layer=SqueezeExcitation)
    network: Any = mobilenetv3.MobileNetV3(settings, last_channel, num_classes=527, block=block)
    network.features[0][0] = nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False)
    network.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1), *network.classifier)
    norms = [one for one in network.modules() if isinstance(one, nn.BatchNorm2d)]
    for norm in norms:
        norm.weight.data.uniform_(0.5, 1.5)
        norm.bias.data.normal_(0, 0.3)
        norm.momentum = 1.0
    with torch.no_grad():  # the statistics of each layer, so that the output depends on the input
        network.features(log_mel(sounds())[:, None])
    return network.eval()


def sounds() -> np.ndarray:
    """Two windows of noise and a tone with noise."""
    rng = np.random.default_rng(0)
    windows = 0.1 * rng.standard_normal((3, 160_000))
    windows[1] *= np.linspace(0, 1, 160_000) ** 3
    windows[2] = 0.1 * windows[2] + np.sin(np.arange(160_000) * 0.2)
    return windows.astype(np.float32)


def log_mel(windows: np.ndarray) -> torch.Tensor:
    """By torchaudio's filters: `(n_windows, 128, n_frames)`."""
    difference = nn.functional.conv1d(
        torch.from_numpy(windows)[:, None], torch.tensor([[[-0.97, 1.0]]])
    )[:, 0]
    spectrum = torch.stft(
        difference,
        1024,
        hop_length=320,
        win_length=800,
        window=torch.hann_window(800, periodic=False),
        return_complex=True,
    )
    filters, _ = torchaudio.compliance.kaldi.get_mel_banks(
        128, 1024, 32_000.0, 0.0, 15_000.0, 100.0, -500.0, 1.0
    )
    filters = nn.functional.pad(filters, (0, 1))
    np.testing.assert_allclose(kaldi_filters().T, filters.numpy(), atol=5e-5)
    return ((filters @ spectrum.abs().square() + 1e-5).log() + 4.5) / 5


@pytest.fixture
def file(reference: Any, tmp_path: Path) -> Path:
    path = tmp_path / efficientat_mn10.INFO.file_name
    torch.save(reference.state_dict(), path)
    return path


def test_the_network_has_the_published_size(reference: Any) -> None:
    tensors = reference.state_dict().values()
    assert len(tensors) == N_PUBLISHED_TENSORS
    assert sum(one.numel() for one in tensors) == N_PUBLISHED_NUMBERS


def test_the_embedding_is_that_of_the_layers(reference: Any, file: Path) -> None:
    windows = sounds()
    with torch.inference_mode():
        expected = reference.features(log_mel(windows)[:, None]).mean((2, 3)).numpy()
    found = efficientat_mn10.load(file, layer="embedding", device="cpu")(windows)
    assert found.shape == (3, 1, 960)
    assert np.ptp(expected, axis=0).max() > 0.5
    np.testing.assert_allclose(found[:, 0], expected, atol=2e-4)


def test_another_network_is_one_line(file: Path) -> None:
    weights = torch.load(file, weights_only=True)
    del weights["features.4.block.2.conc_se_layers.0.fc1.weight"]
    torch.save(weights, file)
    with pytest.raises(ProgramError, match=r"fc1.weight' should be \(24, 72\), but is nothing"):
        efficientat_mn10.load(file, layer="embedding", device="cpu")
