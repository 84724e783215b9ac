"""Process settings for fast training: threads, memory allocator, mixed precision, seeds.

A worker calls `prepare_process` once, before its first trial; `Classifier` uses
`fastest_precision`.
"""

import ctypes
import functools
import logging
import platform

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
    from chorale.lightning_models.patches import _lightning  # inference does without Lightning

    _lightning.cache_entry_points()
