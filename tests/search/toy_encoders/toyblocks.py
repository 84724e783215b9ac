"""A shipped encoder of 0.3-s windows with two blocks that can be fine-tuned, for tests."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from chorale.datasets.base import EncoderInfo
from chorale.datasets.programs.last_blocks import join_windows, split_windows

RATE, N_WINDOW, HOP = 8_000, 2_400, 80
N_FRAMES = N_WINDOW // HOP
WIDTHS = (12, 10, 8)

INFO = EncoderInfo(
    name="toyblocks",
    title="A toy with two blocks",
    trained_on="nothing",
    code_licence="MIT",
    weights_licence="Toy licence",
    citation="Nobody, 2026",
    homepage="https://toys.example",
    sample_rate=RATE,
    window_s=N_WINDOW / RATE,
    layers={"output": WIDTHS[-1]},
    file_name="toyblocks.safetensors",
    how_to_get="make one",
    blocks={"output": 2},
)


class Blocks(nn.Module):
    """The last dense layers of each frame, and the mean over a window."""

    def __init__(self, n_blocks: int) -> None:
        super().__init__()
        sizes = list(pairwise(WIDTHS))[len(WIDTHS) - 1 - n_blocks :]
        self.blocks = nn.ModuleList([nn.Linear(*size) for size in sizes])

    def forward(self, x: Tensor) -> Tensor:
        n_crops = len(x)
        x = split_windows(x, N_FRAMES).transpose(1, 2)
        for block in self.blocks:
            x = block(x).relu()
        return join_windows(x.mean(1), n_crops)


def load_block_input(file: Path, *, layer: str, n_blocks: int, device: str) -> Any:
    del layer, device
    weights = load_file(file)

    def run(windows: np.ndarray) -> np.ndarray:
        frames = torch.from_numpy(windows).reshape(len(windows), N_FRAMES, HOP)
        x = (frames @ weights["front"]).abs()
        for i in range(2 - n_blocks):
            x = (x @ weights[f"{i}.weight"].T + weights[f"{i}.bias"]).relu()
        return np.asarray(x.numpy(), np.float32)

    return run


def last_blocks(file: Path | None, *, layer: str, n_blocks: int) -> nn.Module:
    del layer
    made = Blocks(n_blocks)
    if file is not None:
        weights = load_file(file)
        first = 2 - n_blocks
        made.load_state_dict(
            {
                f"blocks.{i - first}.{part}": weights[f"{i}.{part}"]
                for i in range(first, 2)
                for part in ("weight", "bias")
            }
        )
    return made


def load(file: Path, *, layer: str, device: str) -> Any:
    run = load_block_input(file, layer=layer, n_blocks=2, device=device)
    blocks = last_blocks(file, layer=layer, n_blocks=2).eval()

    def embed(windows: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            found = blocks(torch.from_numpy(run(windows)).transpose(1, 2))
        return np.asarray(found.transpose(1, 2).numpy(), np.float32)

    return embed
