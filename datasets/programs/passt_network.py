"""PaSST in PyTorch, from the checkpoint of its authors: the embedding of a window.

A vision transformer on overlapping patches of 16 bands x 16 frames of a log-mel spectrogram (see
`kaldi_mel`), with one position embedding for frequency and one for time. The embedding is the mean
of the two tokens for classes; the classifier of AudioSet's labels is left out.

Source: Koutini, Schlueter, Eghbal-zadeh and Widmer, "Efficient Training of Audio Transformers with
Patchout", 2022, https://arxiv.org/abs/2110.05069.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from chorale.datasets.programs.kaldi_mel import N_MELS, kaldi_filters, log_mel
from chorale.datasets.programs.network_weights import read_weights, used_weights
from chorale.datasets.programs.vision_transformer import block_shapes, layer_norm, run_blocks
from chorale.datasets.programs.windows import Windows, in_batches

if TYPE_CHECKING:
    from torch import Tensor

N_BINS, N_BLOCKS, N_HEADS = 768, 12, 12
PATCH, STRIDE = 16, 10
N_ROWS = (N_MELS - PATCH) // STRIDE + 1
N_COLUMNS = 99
"""Of patches, in 10 seconds."""

_MOST_WINDOWS = 2  # at a time, which bounds the memory


def load_passt(file: Path, *, device: str) -> Windows:
    """The network as a function from float32 `(n_windows, n_samples)` to `(n_windows, 1, 768)`.

    Args:
        file: the tensors that the authors publish, read without unpickling anything else.
        device: "cpu" or "cuda".

    Raises:
        ProgramError: the file is damaged, or of another network.
    """
    import torch

    used = used_weights(read_weights(file), expected_shapes(), network="PaSST")
    weights = {name: one.to(device).float() for name, one in used.items()}
    filters = torch.from_numpy(kaldi_filters()).to(device)
    return in_batches(
        lambda waveform: _embed(waveform, weights, filters), device, n_windows=_MOST_WINDOWS
    )


def expected_shapes() -> dict[str, tuple[int, ...]]:
    """The tensors that are used, by their published names."""
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, N_BINS),
        "dist_token": (1, 1, N_BINS),
        "new_pos_embed": (1, 2, N_BINS),
        "freq_new_pos_embed": (1, N_BINS, N_ROWS, 1),
        "time_new_pos_embed": (1, N_BINS, 1, N_COLUMNS),
        "patch_embed.proj.weight": (N_BINS, 1, PATCH, PATCH),
        "patch_embed.proj.bias": (N_BINS,),
        "norm.weight": (N_BINS,),
        "norm.bias": (N_BINS,),
    }
    return shapes | block_shapes(N_BLOCKS, N_BINS)


def _embed(waveform: "Tensor", weights: "Mapping[str, Tensor]", filters: "Tensor") -> "Tensor":
    """`(n_windows, n_samples)` -> `(n_windows, 768)`."""
    import torch
    from torch.nn import functional as F

    patches = F.conv2d(
        log_mel(waveform, filters)[:, None],
        weights["patch_embed.proj.weight"],
        weights["patch_embed.proj.bias"],
        stride=STRIDE,
    )  # (n_windows, 768, n_rows, n_columns)
    time = weights["time_new_pos_embed"][..., : patches.shape[3]]
    patches = (patches + time + weights["freq_new_pos_embed"]).flatten(2).transpose(1, 2)
    tokens = torch.cat([weights["cls_token"], weights["dist_token"]], dim=1)
    tokens = (tokens + weights["new_pos_embed"]).expand(len(patches), -1, -1)
    x = torch.cat([tokens, patches], dim=1)  # (n_windows, 2 + n_patches, 768)
    x = run_blocks(x, weights, n_blocks=N_BLOCKS, n_heads=N_HEADS)
    return layer_norm(x[:, :2], weights, "norm").mean(dim=1)
