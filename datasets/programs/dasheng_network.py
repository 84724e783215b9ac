"""Dasheng in PyTorch, from the checkpoint of its authors: frames of 0.2 seconds.

A vision transformer whose patches are columns: all 64 mel bands of 40 ms. About ten seconds share
one table of positions; longer audio is cut into such parts, as its authors do. The decoder, which
was only needed for training, is left out.

Source: Dinkel, Yan, Wang, Zhang, Wang and Wang, "Scaling up masked audio encoder learning for
general audio classification", 2024, https://arxiv.org/abs/2406.06992.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chorale.datasets.programs.exported_program import ProgramError
from chorale.datasets.programs.network_weights import read_weights, used_weights
from chorale.datasets.programs.vision_transformer import block_shapes, layer_norm, run_blocks
from chorale.datasets.programs.windows import Windows, on_windows

if TYPE_CHECKING:
    from torch import Tensor

N_BINS, N_BLOCKS, N_HEADS = 768, 12, 12
SAMPLE_RATE = 16_000
N_MELS, N_FFT, HOP = 64, 512, 160
PATCH = 4
"""Frames of the spectrogram in a patch."""

N_POSITIONS = (252, 253)
"""Patches that share a table of positions: the published configurations differ by one."""

AVERAGED = 5
"""Patches that are averaged into a frame, so that the cache is small."""

TOP_DB = 120.0
NORM_EPSILON = 1e-5
_LARGEST_SAMPLE = 1e6  # keeps the power of any finite waveform finite


def load_dasheng(file: Path, *, device: str) -> Windows:
    """The network as a function from float32 `(n_windows, n_samples)` to `(n_windows, n, 768)`.

    Args:
        file: the checkpoint that the authors publish, read without unpickling anything else.
        device: "cpu" or "cuda".

    Raises:
        ProgramError: the file is damaged, or of another network.
    """
    from torchaudio.transforms import AmplitudeToDB, MelSpectrogram

    found = _used(read_weights(file, under="model"))
    weights = {name: one.to(device).float() for name, one in found.items()}
    to_mel = MelSpectrogram(
        SAMPLE_RATE, N_FFT, hop_length=HOP, f_min=0.0, f_max=SAMPLE_RATE / 2, n_mels=N_MELS
    ).to(device)
    to_db = AmplitudeToDB(top_db=TOP_DB)

    def embed(waveform: "Tensor") -> "Tensor":
        return _embed(to_db(to_mel(waveform.clamp(-_LARGEST_SAMPLE, _LARGEST_SAMPLE))), weights)

    return on_windows(embed, device)


def expected_shapes(n_positions: int) -> dict[str, tuple[int, ...]]:
    """The tensors that are used, by their published names."""
    shapes: dict[str, tuple[int, ...]] = {
        **{f"init_bn.1.{name}": (N_MELS,) for name in ("weight", "bias")},
        **{f"init_bn.1.running_{name}": (N_MELS,) for name in ("mean", "var")},
        "patch_embed.proj.weight": (N_BINS, 1, N_MELS, PATCH),
        "patch_embed.proj.bias": (N_BINS,),
        "time_pos_embed": (1, N_BINS, 1, n_positions),
        "freq_pos_embed": (1, N_BINS, 1, 1),
        "norm.weight": (N_BINS,),
        "norm.bias": (N_BINS,),
    }
    return shapes | block_shapes(N_BLOCKS, N_BINS)


def _used(model: Mapping[str, Any]) -> "dict[str, Tensor]":
    """The tensors that are used, with a table of positions of either length."""
    positions = model.get("time_pos_embed")
    n = N_POSITIONS[0] if positions is None else positions.shape[-1]
    if n not in N_POSITIONS:
        allowed = " or ".join(map(str, N_POSITIONS))
        raise ProgramError(f"is no Dasheng base: it has {n} positions, but {allowed} are expected")
    return used_weights(model, expected_shapes(n), network="Dasheng base")


def _embed(decibels: "Tensor", weights: "Mapping[str, Tensor]") -> "Tensor":
    """`(1, n_mels, n_frames)` -> `(1, n, 768)`."""
    import torch
    from torch.nn import functional as F

    scaled = F.batch_norm(
        decibels,
        weights["init_bn.1.running_mean"],
        weights["init_bn.1.running_var"],
        weights["init_bn.1.weight"],
        weights["init_bn.1.bias"],
        eps=NORM_EPSILON,
    )
    if scaled.shape[2] < PATCH:
        scaled = F.pad(scaled, (0, PATCH - scaled.shape[2]))
    kernel, bias = weights["patch_embed.proj.weight"], weights["patch_embed.proj.bias"]
    patches = F.conv2d(scaled[:, None], kernel, bias, stride=(N_MELS, PATCH))[:, :, 0]
    positions = weights["time_pos_embed"][0, :, 0]  # (768, n_positions)
    parts = []
    for at in range(0, patches.shape[2], positions.shape[1]):
        part = patches[..., at : at + positions.shape[1]]
        placed = part + positions[:, : part.shape[2]] + weights["freq_pos_embed"][..., 0]
        x = run_blocks(placed.transpose(1, 2), weights, n_blocks=N_BLOCKS, n_heads=N_HEADS)
        parts.append(layer_norm(x, weights, "norm"))
    frames = torch.cat(parts, dim=1).transpose(1, 2)
    return F.avg_pool1d(frames, AVERAGED, ceil_mode=True).transpose(1, 2)
