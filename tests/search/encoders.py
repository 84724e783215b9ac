"""Small pretrained encoders for tests, as a user would have added them."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from chorale.datasets import encoders
from chorale.datasets.programs import musicnn_network

RATE = 8_000
N_WINDOW = 2_400


class Bands(torch.nn.Module):
    """`(1, n_samples)` -> `(1, n_frames, n_bins)`: magnitudes of random projections of frames."""

    def __init__(self, n_bins: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layer = torch.nn.Linear(400, n_bins)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n_frames = x.shape[1] // 400
        return torch.abs(self.layer(x[:, : n_frames * 400].reshape(1, n_frames, 400)))


def add_encoder(folder: Path, name: str, *, n_bins: int, seed: int = 0) -> Path:
    """Adds an encoder of 0.3-s windows at 8 kHz to the encoders' folder; gives its file."""
    at = folder / name
    at.mkdir(parents=True)
    net = Bands(n_bins, seed).eval()
    program = torch.export.export(net, (torch.zeros(1, N_WINDOW),))
    torch.export.save(program, at / "encoder.pt2")
    record = {
        "title": f"Bands {name}",
        "sample_rate": RATE,
        "window_s": N_WINDOW / RATE,
        "file_name": "encoder.pt2",
        "sha256": hashlib.sha256((at / "encoder.pt2").read_bytes()).hexdigest(),
        "layers": {"output": n_bins},
        "licence": "CC0",
    }
    (at / "encoder.json").write_text(json.dumps(record))
    return at / "encoder.pt2"


def add_musicnn(folder: Path, *, seed: int = 0) -> Path:
    """Adds musicnn with random weights to the encoders' folder; gives its file."""
    torch.manual_seed(seed)
    made: dict[str, torch.Tensor] = {}
    for name, shape in musicnn_network._SHAPES.items():
        made[f"{name}.weight"] = torch.randn(shape) / torch.tensor(shape[1:]).prod() ** 0.5
        made[f"{name}.bias"] = 0.1 * torch.randn(shape[0])
    for name, n in musicnn_network._NORMALISED.items():  # a factor below 0 makes minima count
        made[f"{name}.scale"] = 1 + 0.7 * torch.randn(n)
        made[f"{name}.shift"] = 0.1 * torch.randn(n)
    file = folder / "musicnn" / "musicnn.safetensors"
    file.parent.mkdir(parents=True)
    save_file(made, file)
    return file


def ship_toy(patch: pytest.MonkeyPatch, folder: Path, *, seed: int = 0) -> Path:
    """Ships the encoder `toyblocks`, with random weights in the encoders' folder; its file."""
    here = str(Path(__file__).with_name("toy_encoders"))
    patch.setattr(encoders, "__path__", [*encoders.__path__, here])
    patch.setenv("CHORALE_ENCODERS", str(folder))
    torch.manual_seed(seed)
    made = {"front": torch.randn(80, 12) / 9}
    for i, (n_in, n_out) in enumerate(((12, 10), (10, 8))):
        made[f"{i}.weight"] = torch.randn(n_out, n_in) / n_in**0.5
        made[f"{i}.bias"] = 0.1 * torch.randn(n_out)
    file = folder / "toyblocks" / "toyblocks.safetensors"
    file.parent.mkdir(parents=True)
    save_file(made, file)
    return file
