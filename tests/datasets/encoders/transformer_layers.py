"""PyTorch's transformer layer with the tensors of a published block: the reference of two tests."""

import torch
from torch import nn

PARTS = {
    "norm1": "norm1",
    "norm2": "norm2",
    "attn.proj": "self_attn.out_proj",
    "mlp.fc1": "linear1",
    "mlp.fc2": "linear2",
}
"""The published names of a block's parts -> those in PyTorch's layer."""


def block_layer(
    weights: dict[str, torch.Tensor], number: int, n_heads: int
) -> nn.TransformerEncoderLayer:
    """Block `number` of a file's `weights`."""
    at = f"blocks.{number}"
    width = len(weights[f"{at}.norm1.weight"])
    layer = nn.TransformerEncoderLayer(
        width,
        n_heads,
        4 * width,
        dropout=0.0,
        activation="gelu",
        layer_norm_eps=1e-6,
        batch_first=True,
        norm_first=True,
    )
    loaded = {
        "self_attn.in_proj_weight": weights[f"{at}.attn.qkv.weight"],
        "self_attn.in_proj_bias": weights[f"{at}.attn.qkv.bias"],
    }
    for published, own in PARTS.items():
        loaded |= {f"{own}.{p}": weights[f"{at}.{published}.{p}"] for p in ("weight", "bias")}
    layer.load_state_dict(loaded)
    return layer
