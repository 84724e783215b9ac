"""Private names of PyTorch, all in this file: fused kernels, batch norm's base, the GPU count."""

import ctypes
import platform
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm

__all__ = [
    "BatchNorm",
    "add_one",
    "cache_gpu_absence",
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


def cache_gpu_absence() -> None:
    """Makes PyTorch search for a GPU driver once, not in every step, where there is none.

    Its optimizers query CUDA before each step, and a negative answer is not cached: on a CPU each
    query takes 0.2 ms.
    """
    if hasattr(torch.cuda, "_cached_device_count") and not _may_have_gpu():
        vars(torch.cuda)["_cached_device_count"] = 0


def _may_have_gpu() -> bool:
    """False only where the driver's library is missing, so that no GPU can become visible."""
    if platform.system() != "Linux" or torch.version.hip or torch.cuda.device_count():
        return True
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return False
    return True
