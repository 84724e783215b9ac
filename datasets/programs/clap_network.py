"""The audio tower of CLAP (HTSAT) in PyTorch, from the tensors that its publishers name.

A log-mel spectrogram of 10 s (64 bands, 50 Hz to 14 kHz, 100 frames a second) is cut into four
pieces of 2.5 s, which are laid one above the other as a square picture. A Swin transformer of four
stages looks at it in windows of 8 x 8 patches, every second time shifted by half a window. The mean
over all positions is the layer "pooled"; two dense layers on it make "embedding", which CLAP
compares with texts.

Source: Wu et al., "Large-scale Contrastive Language-Audio Pretraining with Feature Fusion and
Keyword-to-Caption Augmentation", 2023, https://arxiv.org/abs/2211.06687; Chen et al., "HTS-AT: A
Hierarchical Token-Semantic Audio Transformer", 2022, https://arxiv.org/abs/2202.00874; Liu et al.,
"Swin Transformer", 2021, https://arxiv.org/abs/2103.14030.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from chorale.datasets.base import ALL_LAYERS
from chorale.datasets.dsp.mel_config import MelConfig
from chorale.datasets.programs.network_weights import read_weights, used_weights
from chorale.datasets.programs.swin_transformer import SwinConfig, normalize, swin, swin_shapes
from chorale.datasets.programs.windows import Windows, in_batches

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE, WINDOW_S = 48_000, 10.0
SWIN = SwinConfig(width=96, depths=(2, 2, 6, 2), n_heads=(4, 8, 16, 32), window=8)
N_POOLED, N_EMBEDDING = 768, 512
LAYERS: Mapping[str, int] = {"embedding": N_EMBEDDING, "pooled": N_POOLED}
"""The outputs, with their numbers of values."""

MEL = MelConfig(
    sample_rate=SAMPLE_RATE, n_fft=1_024, hop_length=480, n_mels=64, f_min=50.0, f_max=14_000.0
)
MIN_POWER = 1e-10
"""Of a mel band, before the logarithm."""

PATCH = 4
N_PIECES, N_PIECE_FRAMES = 4, 256
"""The picture: pieces of the spectrogram one above the other, and frames of a piece."""

BATCH_NORM_EPSILON = 1e-5

AUDIO_PARTS = ("audio_model.audio_encoder.", "audio_projection.")
"""How the names of the tensors of the audio tower begin in the published file."""

_NETWORK = "CLAP of HTSAT"
_LARGEST_SAMPLE = 1e6  # keeps the power of any finite waveform finite
_MOST_WINDOWS = 2  # at a time, which bounds the memory


def convert_published(file: Path, target: Path) -> None:
    """Writes the audio tower of the published file as safetensors; the text tower is left out.

    Raises:
        ProgramError: the file is damaged, or of another network.
    """
    from safetensors.torch import save_file

    used = used_weights(read_weights(file), expected_shapes(), network=_NETWORK)
    save_file({name: one.clone().contiguous() for name, one in used.items()}, target)


def load_clap(file: Path, *, layer: str, device: str) -> Windows:
    """The network as a function from float32 `(n_windows, 480000)` to `(n_windows, 1, n_bins)`.

    A window that ends with zeros, as that of a shorter recording does, is filled by repeating what
    is before them as often as it fits, as the publishers do.

    Args:
        file: what `convert_published` wrote.
        layer: one of `LAYERS`, or `ALL_LAYERS`.
        device: "cpu" or "cuda".

    Raises:
        ProgramError: the file is damaged, or of another network.
    """
    import torch

    from chorale.datasets.dsp.mel_spectrogram import mel_filters

    used = used_weights(read_weights(file), expected_shapes(), network=_NETWORK)
    weights = {name: one.to(device).float() for name, one in used.items()}
    filters = torch.tensor(mel_filters(MEL).T, device=device)
    wanted = tuple(LAYERS) if layer == ALL_LAYERS else (layer,)

    def embed(waveform: "Tensor") -> "Tensor":
        made = _embed(waveform, weights, filters)
        return torch.cat([made[name] for name in wanted], dim=1)

    run = in_batches(embed, device, n_windows=_MOST_WINDOWS)
    return lambda windows: run(np.stack([repeated(window) for window in windows]))


def repeated(window: np.ndarray) -> np.ndarray:
    """A window with its content, up to its last sample that is not zero, as often as it fits."""
    content = np.flatnonzero(window)
    n = int(content[-1]) + 1 if len(content) else len(window)
    n_times = len(window) // n
    return np.pad(np.tile(window[:n], n_times), (0, len(window) - n * n_times))


def expected_shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of the audio tower that are used, by their published names."""
    encoder, projection = AUDIO_PARTS
    batch_norm = ("weight", "bias", "running_mean", "running_var")
    shapes: dict[str, tuple[int, ...]] = {
        **{f"{encoder}batch_norm.{part}": (MEL.n_mels,) for part in batch_norm},
        f"{encoder}patch_embed.proj.weight": (SWIN.width, 1, PATCH, PATCH),
        f"{encoder}patch_embed.proj.bias": (SWIN.width,),
        **{f"{encoder}patch_embed.norm.{part}": (SWIN.width,) for part in ("weight", "bias")},
        **{f"{encoder}norm.{part}": (SWIN.last_width,) for part in ("weight", "bias")},
        f"{projection}linear1.weight": (N_EMBEDDING, SWIN.last_width),
        f"{projection}linear1.bias": (N_EMBEDDING,),
        f"{projection}linear2.weight": (N_EMBEDDING, N_EMBEDDING),
        f"{projection}linear2.bias": (N_EMBEDDING,),
    }
    return shapes | {f"{encoder}{name}": shape for name, shape in swin_shapes(SWIN).items()}


def _embed(
    waveform: "Tensor", weights: "Mapping[str, Tensor]", filters: "Tensor"
) -> "dict[str, Tensor]":
    """`(n_windows, n_samples)` -> each layer `(n_windows, n_bins)`."""
    from torch.nn import functional as F

    name, projection = AUDIO_PARTS
    encoder = {key.removeprefix(name): one for key, one in weights.items() if key.startswith(name)}
    parts = ("running_mean", "running_var", "weight", "bias")
    mean, variance, weight, bias = (encoder[f"batch_norm.{part}"] for part in parts)
    decibels = F.batch_norm(
        _log_mel(waveform, filters), mean, variance, weight, bias, eps=BATCH_NORM_EPSILON
    )
    patches = F.conv2d(
        _picture(decibels),
        encoder["patch_embed.proj.weight"],
        encoder["patch_embed.proj.bias"],
        stride=PATCH,
    )  # (n_windows, width, 64, 64)
    x = normalize(patches.permute(0, 2, 3, 1), encoder, "patch_embed.norm")
    pooled = normalize(swin(x, encoder, SWIN), encoder, "norm").mean(dim=(1, 2))

    def dense(x: "Tensor", layer: str) -> "Tensor":
        made: Tensor = F.linear(
            x, weights[f"{projection}{layer}.weight"], weights[f"{projection}{layer}.bias"]
        )
        return made

    return {"pooled": pooled, "embedding": dense(dense(pooled, "linear1").relu(), "linear2")}


def _log_mel(waveform: "Tensor", filters: "Tensor") -> "Tensor":
    """`(n_windows, n_samples)` -> decibels `(n_windows, n_mels, n_frames)`."""
    import torch

    spectrum = torch.stft(
        waveform.clamp(-_LARGEST_SAMPLE, _LARGEST_SAMPLE),
        MEL.n_fft,
        MEL.hop_length,
        window=torch.hann_window(MEL.n_fft, device=waveform.device),
        pad_mode="reflect",
        return_complex=True,
    )
    power = spectrum.abs().square().transpose(1, 2) @ filters  # (n_windows, n_frames, n_mels)
    return 10 * power.clamp(min=MIN_POWER).log10().transpose(1, 2)


def _picture(decibels: "Tensor") -> "Tensor":
    """`(n_windows, n_mels, n_frames)` -> `(n_windows, 1, 256, 256)`: frequency, then time."""
    from torch.nn import functional as F

    n_windows, n_mels, _ = decibels.shape
    size = (N_PIECES * N_PIECE_FRAMES, n_mels)
    stretched = F.interpolate(
        decibels.transpose(1, 2)[:, None], size, mode="bicubic", align_corners=True
    )
    pieces = stretched.reshape(n_windows, N_PIECES, N_PIECE_FRAMES, n_mels).transpose(2, 3)
    return pieces.reshape(n_windows, 1, N_PIECES * n_mels, N_PIECE_FRAMES)
