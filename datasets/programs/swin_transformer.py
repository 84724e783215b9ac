"""A Swin transformer in PyTorch, as a function of its tensors.

Source: Liu et al., "Swin Transformer: Hierarchical Vision Transformer using Shifted Windows", 2021,
https://arxiv.org/abs/2103.14030. The names of the tensors are those of transformers' Swin networks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

LAYER_NORM_EPSILON = 1e-5
MLP_RATIO = 4
_APART = -100.0
"""Added to the attention between positions that only the cyclic shift brings together."""


@dataclass(frozen=True)
class SwinConfig:
    """The first stage's `width`, which doubles from stage to stage, and `window` patches a side.

    `depths` and `n_heads` are those of each stage.
    """

    width: int
    depths: tuple[int, ...]
    n_heads: tuple[int, ...]
    window: int

    @property
    def last_width(self) -> int:
        """The number of values of a position after the last stage."""
        return int(self.width * 2 ** (len(self.depths) - 1))


def swin_shapes(config: SwinConfig) -> dict[str, tuple[int, ...]]:
    """The tensors by name."""
    shapes: dict[str, tuple[int, ...]] = {}
    n_offsets = (2 * config.window - 1) ** 2
    for stage, (depth, n_heads) in enumerate(zip(config.depths, config.n_heads, strict=True)):
        width = config.width * 2**stage
        wide = MLP_RATIO * width
        for number in range(depth):
            block = f"layers.{stage}.blocks.{number}"
            dense = {f"attention.self.{part}": (width, width) for part in ("query", "key", "value")}
            dense |= {
                "attention.output.dense": (width, width),
                "intermediate.dense": (wide, width),
                "output.dense": (width, wide),
            }
            for name, shape in dense.items():
                shapes |= {f"{block}.{name}.weight": shape, f"{block}.{name}.bias": shape[:1]}
            for name in ("layernorm_before", "layernorm_after"):
                shapes |= {f"{block}.{name}.{part}": (width,) for part in ("weight", "bias")}
            shapes[f"{block}.attention.self.relative_position_bias_table"] = (n_offsets, n_heads)
        if stage < len(config.depths) - 1:
            at = f"layers.{stage}.downsample"
            shapes[f"{at}.reduction.weight"] = (2 * width, 4 * width)
            shapes |= {f"{at}.norm.{part}": (4 * width,) for part in ("weight", "bias")}
    return shapes


def swin(x: "Tensor", weights: "Mapping[str, Tensor]", config: SwinConfig) -> "Tensor":
    """All stages: `(n, height, width, channels)` -> the same with smaller sides, wider channels.

    Height and width are multiples of `config.window` in every stage.
    """
    import torch
    from torch.nn import functional as F

    for stage, (depth, n_heads) in enumerate(zip(config.depths, config.n_heads, strict=True)):
        for number in range(depth):
            whole = min(x.shape[1:3]) <= config.window  # one window: nothing to shift
            shift = config.window // 2 if number % 2 and not whole else 0
            x = _block(x, weights, f"layers.{stage}.blocks.{number}", n_heads, shift, config.window)
        if stage < len(config.depths) - 1:
            at = f"layers.{stage}.downsample"
            corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
            x = normalize(torch.cat(corners, dim=3), weights, f"{at}.norm")
            x = F.linear(x, weights[f"{at}.reduction.weight"])
    return x


def normalize(x: "Tensor", weights: "Mapping[str, Tensor]", name: str) -> "Tensor":
    """Layer normalisation of the last axis."""
    from torch.nn import functional as F

    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    made: Tensor = F.layer_norm(x, weight.shape, weight, bias, LAYER_NORM_EPSILON)
    return made


def _block(
    x: "Tensor",
    weights: "Mapping[str, Tensor]",
    block: str,
    n_heads: int,
    shift: int,
    window: int,
) -> "Tensor":
    """Attention in windows, then two dense layers; each is added to its input."""
    from torch.nn import functional as F

    def dense(x: "Tensor", name: str) -> "Tensor":
        made: Tensor = F.linear(
            x, weights[f"{block}.{name}.weight"], weights[f"{block}.{name}.bias"]
        )
        return made

    n, height, width, channels = x.shape
    before = normalize(x, weights, f"{block}.layernorm_before")
    shifted = before.roll((-shift, -shift), dims=(1, 2)) if shift else before
    cells = _windows(shifted, window)  # (n * n_windows, window**2, channels)
    query, key, value = (
        dense(cells, f"attention.self.{part}")
        .view(len(cells), window * window, n_heads, channels // n_heads)
        .transpose(1, 2)
        for part in ("query", "key", "value")
    )
    table = weights[f"{block}.attention.self.relative_position_bias_table"]
    bias = table[_offsets(window, table.device)].permute(2, 0, 1)  # (n_heads, cells, cells)
    if shift:
        apart = _apart(height, width, shift, window, table.device)
        bias = (bias + apart[:, None]).repeat(n, 1, 1, 1)
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    made = dense(mixed.transpose(1, 2).flatten(2), "attention.output.dense")
    rows, columns = height // window, width // window
    made = made.view(n, rows, columns, window, window, channels).transpose(2, 3)
    made = made.reshape(n, height, width, channels)
    x = x + (made.roll((shift, shift), dims=(1, 2)) if shift else made)
    after = normalize(x, weights, f"{block}.layernorm_after")
    return x + dense(F.gelu(dense(after, "intermediate.dense")), "output.dense")


def _windows(x: "Tensor", window: int) -> "Tensor":
    """`(n, height, width, channels)` -> `(n * n_windows, window**2, channels)`."""
    n, height, width, channels = x.shape
    cut = x.view(n, height // window, window, width // window, window, channels)
    return cut.transpose(2, 3).reshape(-1, window * window, channels)


def _offsets(window: int, device: Any) -> "Tensor":
    """Of each pair of positions in a window, the row of the table: `(window**2, window**2)`."""
    import torch

    at = torch.arange(window * window, device=device)
    row, column = at // window, at % window
    by_row = row[:, None] - row + window - 1
    return by_row * (2 * window - 1) + column[:, None] - column + window - 1


def _apart(height: int, width: int, shift: int, window: int, device: Any) -> "Tensor":
    """0 within a region, `_APART` between: `(n_windows, window**2, window**2)`.

    After the cyclic shift the last window of each axis has two regions that are no neighbours.
    """
    import torch

    def regions(n: int) -> "Tensor":
        at = torch.arange(n, device=device)
        return (at >= n - window).long() + (at >= n - shift).long()

    region = regions(height)[:, None] * 3 + regions(width)
    cells = _windows(region[None, :, :, None], window)[:, :, 0]
    return torch.where(cells[:, None] != cells[:, :, None], _APART, 0.0)
