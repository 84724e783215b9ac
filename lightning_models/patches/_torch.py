"""Private names of PyTorch, all in this file: fused kernels, batch norm's base."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm

__all__ = [
    "BatchNorm",
    "add_one",
    "check_input",
    "fused_adam",
    "fused_adamw",
    "lerp",
]


def fused_adam(*args: Any, **kwargs: Any) -> None:
    """One step of Adam for tensors of one device and type; see `torch.optim.adam`."""
    torch._fused_adam_(*args, **kwargs)


def fused_adamw(*args: Any, **kwargs: Any) -> None:
    """One step of AdamW for tensors of one device and type; see `torch.optim.adamw`."""
    torch._fused_adamw_(*args, **kwargs)


def add_one(tensors: Sequence[Tensor]) -> None:
    """Adds 1 to each tensor, in place."""
    torch._foreach_add_(list(tensors), 1)


def lerp(tensors: Sequence[Tensor], ends: Sequence[Tensor], share: float) -> None:
    """Moves each tensor by `share` of the way to its end, in place."""
    torch._foreach_lerp_(list(tensors), list(ends), share)


def check_input(norm: nn.Module, x: Tensor) -> None:
    """Raises ValueError where `x` has too few or too many dimensions for a batch norm."""
    norm._check_input_dim(x)  # type: ignore[operator]
