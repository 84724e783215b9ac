"""The blocks of a vision transformer in PyTorch, by the tensor names of timm: PaSST and Dasheng.

A block adds attention, then a hidden layer of four times the width, each on normalized inputs.

Source: Dosovitskiy et al., "An Image is Worth 16x16 Words: Transformers for Image Recognition at
Scale", 2021, https://arxiv.org/abs/2010.11929.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

LAYER_NORM_EPSILON = 1e-6


def block_shapes(n_blocks: int, width: int) -> dict[str, tuple[int, ...]]:
    """The tensors of `n_blocks` blocks and their shapes, by their published names."""
    dense = {
        "attn.qkv": (3 * width, width),
        "attn.proj": (width, width),
        "mlp.fc1": (4 * width, width),
        "mlp.fc2": (width, 4 * width),
    }
    shapes: dict[str, tuple[int, ...]] = {}
    for number in range(n_blocks):
        for name in ("norm1", "norm2"):
            shapes |= {f"blocks.{number}.{name}.{part}": (width,) for part in ("weight", "bias")}
        for name, shape in dense.items():
            shapes[f"blocks.{number}.{name}.weight"] = shape
            shapes[f"blocks.{number}.{name}.bias"] = shape[:1]
    return shapes


def run_blocks(
    x: "Tensor", weights: "Mapping[str, Tensor]", *, n_blocks: int, n_heads: int
) -> "Tensor":
    """Tokens `(n, n_tokens, width)` through the blocks; of the same shape."""
    from torch.nn import functional as F

    for number in range(n_blocks):
        block = f"blocks.{number}"
        x = x + _attention(layer_norm(x, weights, f"{block}.norm1"), weights, block, n_heads)
        hidden = _dense(layer_norm(x, weights, f"{block}.norm2"), weights, f"{block}.mlp.fc1")
        x = x + _dense(F.gelu(hidden), weights, f"{block}.mlp.fc2")
    return x


def layer_norm(x: "Tensor", weights: "Mapping[str, Tensor]", name: str) -> "Tensor":
    """Normalizes the last axis with the weight and bias of `name`."""
    from torch.nn import functional as F

    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    made: Tensor = F.layer_norm(x, weight.shape, weight, bias, LAYER_NORM_EPSILON)
    return made


def _dense(x: "Tensor", weights: "Mapping[str, Tensor]", name: str) -> "Tensor":
    from torch.nn import functional as F

    made: Tensor = F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])
    return made


def _attention(x: "Tensor", weights: "Mapping[str, Tensor]", block: str, n_heads: int) -> "Tensor":
    from torch.nn import functional as F

    n, n_tokens, width = x.shape
    parts = _dense(x, weights, f"{block}.attn.qkv").view(n, n_tokens, 3, n_heads, width // n_heads)
    query, key, value = parts.permute(2, 0, 3, 1, 4)
    mixed = F.scaled_dot_product_attention(query, key, value)
    return _dense(mixed.transpose(1, 2).flatten(2), weights, f"{block}.attn.proj")
