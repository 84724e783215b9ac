"""Small pretrained encoders for tests, as a user would have added them."""

import hashlib
import json
from pathlib import Path

import torch

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
