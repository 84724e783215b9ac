"""Process settings for fast training: threads, memory allocator, mixed precision, seeds.

A worker calls `prepare_process` once, before its first trial; `Classifier` uses
`fastest_precision`.
"""

import ctypes
import functools
import logging
import platform
from collections.abc import Callable
from typing import Any

import torch

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""glibc's `mallopt` parameters (malloc.h)."""

RETAINED_BYTES = 2**31 - 1
"""Freed memory that the process keeps: the maximum, as `mallopt` takes an int."""

PAD_BYTES = 64 * 2**20
"""The least by which the heap grows."""


def prepare_process(threads: int = 1) -> None:
    """Sets threads, denormals and allocator for fast training. Call it before the first tensor.

    Args:
        threads: the number of cores of this process. One, with as many processes as there are
            cores, gives the most trials per hour.
    """
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    retain_memory()
    silence_lightning()


def retain_memory() -> bool:
    """Makes glibc keep freed memory; returns whether it accepted that.

    Otherwise each large tensor is new memory from the kernel, which zeroes it page by page: half
    the time of a training step.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    wanted = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: RETAINED_BYTES, M_TOP_PAD: PAD_BYTES}
    accepted = [mallopt(name, value) == 1 for name, value in wanted.items()]
    return all(accepted)


def release_memory() -> None:
    """Returns the freed memory that `retain_memory` kept to the system, as after a trial."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def training_device() -> torch.device:
    """The device of this process: the current GPU if there is one, otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def seed_torch(seed: int, device: torch.device) -> None:
    """Seeds the generators of dropout and initialization on `device`.

    `torch.manual_seed` also records the seed, and a stack trace, for every kind of accelerator that
    the machine might have: ten times the work, and memory that is never freed.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


@functools.cache
def fastest_precision(kind: str) -> torch.dtype:
    """The dtype in which matrix products and convolutions are fastest without loss of accuracy.

    Args:
        kind: the device type, "cpu" or "cuda".

    Returns:
        bfloat16 where the hardware supports it natively, otherwise float32. CPUs with AVX-512 but
        without AVX512_BF16 emulate it, slower than float32.
    """
    if kind == "cuda":
        native = torch.cuda.is_available() and torch.cuda.is_bf16_supported(
            including_emulation=False
        )
    else:
        able = torch.cpu.get_capabilities()
        native = bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return torch.bfloat16 if native else torch.float32


@functools.cache
def silence_lightning() -> None:
    """Silences Lightning's messages for every fit, and caches what it looks up for every fit."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        for part in ("", ".utilities.rank_zero"):
            logging.getLogger(name + part).setLevel(logging.ERROR)
    _remember_entry_points()
    _say_nothing_of_devices()
    cache_gpu_absence()


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


def _say_nothing_of_devices() -> None:
    """Skips each Trainer's search for GPUs and TPUs, whose result is only logged."""
    from pytorch_lightning.trainer import setup

    if hasattr(setup, "_log_device_info"):
        vars(setup)["_log_device_info"] = _nothing


def _nothing(trainer: object) -> None:
    """Replaces a function of Lightning."""
    del trainer


def _remember_entry_points() -> None:
    """Makes Lightning search the installed packages for callbacks once, not for each Trainer.

    The search reads the metadata of every package: more than half of the fixed cost of a fit.
    Where a package does provide callbacks, each Trainer still makes its own.
    """
    from pytorch_lightning.trainer.connectors import callback_connector

    look_up = getattr(callback_connector, "_load_external_callbacks", None)
    if look_up is not None:  # another version of Lightning works, too, only slower
        vars(callback_connector)["_load_external_callbacks"] = cache_empty_result(look_up)


def cache_empty_result(look_up: Callable[[str], list[Any]]) -> Callable[[str], list[Any]]:
    """`look_up` with its empty results cached."""
    empty: set[str] = set()

    def cached(group: str) -> list[Any]:
        if group in empty:
            return []
        found = look_up(group)
        if not found:
            empty.add(group)
        return found

    return cached
