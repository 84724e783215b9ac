"""What makes a training process fast on the machine at hand: threads, allocator, precision.

A worker calls `prepare` once, before its first trial; `GenreClassifier` asks `precision`.
"""

import ctypes
import functools
import logging
import platform
from collections.abc import Callable
from typing import Any

import torch

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Numbers of glibc's `mallopt` parameters (malloc.h)."""

KEEP_BYTES = 2**31 - 1
"""How much freed memory stays with the process: all that `mallopt`, which takes an int, can say."""

PAD_BYTES = 64 * 2**20
"""How much memory the heap grows by at least."""


def prepare(threads: int = 1) -> None:
    """Makes this process fast at training. Call it once, before the first tensor is made.

    Args:
        threads: how many cores this process has for itself. One, with as many processes as there
            are cores, gives the most trials an hour.
    """
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    keep_memory()
    quieten_lightning()


def keep_memory() -> bool:
    """Tells glibc to keep freed memory; says whether there was a glibc to tell.

    Else each large tensor is fresh memory from the kernel, which clears it page by page: half the
    time of a training step.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    wanted = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: KEEP_BYTES, M_TOP_PAD: PAD_BYTES}
    accepted = [mallopt(name, value) == 1 for name, value in wanted.items()]
    return all(accepted)


def give_memory_back() -> None:
    """Hands what `keep_memory` kept back to the machine: after a trial, before a smaller one."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def device() -> torch.device:
    """Where this process trains: the current GPU where there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def seed_torch(seed: int, device: torch.device) -> None:
    """Seeds the generators that dropout and initialisation on `device` draw from.

    `torch.manual_seed` also notes the seed, and a stack trace, for every kind of accelerator that
    the machine might have: ten times the work, and memory that is never given back.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


@functools.cache
def precision(kind: str) -> torch.dtype:
    """The type in which matrix products and convolutions are fastest without costing accuracy.

    Args:
        kind: of the device: "cpu" or "cuda".

    Returns:
        bfloat16 where the hardware multiplies it natively, else float32. Processors with AVX-512
        but without its bf16 part emulate it, slower than float32.
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
def quieten_lightning() -> None:
    """Silences what Lightning says of every fit, and what it looks up anew for every fit."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        for part in ("", ".utilities.rank_zero"):
            logging.getLogger(name + part).setLevel(logging.ERROR)
    _remember_entry_points()
    _say_nothing_of_devices()
    remember_no_gpu()


def remember_no_gpu() -> None:
    """Lets torch look for a GPU's driver once where there is none, not in every step.

    Its optimizers ask for CUDA before each step, and its answer "no" is not kept: on a processor
    the vain search takes a fifth of a millisecond each time.
    """
    if hasattr(torch.cuda, "_cached_device_count") and not _may_have_gpu():
        vars(torch.cuda)["_cached_device_count"] = 0


def _may_have_gpu() -> bool:
    """False only where the driver's library is missing, so that no variable can bring a GPU in."""
    if platform.system() != "Linux" or torch.version.hip or torch.cuda.device_count():
        return True
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return False
    return True


def _say_nothing_of_devices() -> None:
    """Spares each Trainer the search for GPUs and TPUs that it would only log."""
    from pytorch_lightning.trainer import setup

    if hasattr(setup, "_log_device_info"):
        vars(setup)["_log_device_info"] = _nothing


def _nothing(trainer: object) -> None:
    """In the place of a function of Lightning's."""
    del trainer


def _remember_entry_points() -> None:
    """Lets Lightning look for callbacks among the installed packages once, not for each Trainer.

    The look-up reads the metadata of every package: more than half of the fixed cost of a fit.
    Where a package does offer callbacks, each Trainer still makes its own.
    """
    from pytorch_lightning.trainer.connectors import callback_connector

    look_up = getattr(callback_connector, "_load_external_callbacks", None)
    if look_up is not None:  # else another Lightning: slower, and just as right
        vars(callback_connector)["_load_external_callbacks"] = once_empty(look_up)


def once_empty(look_up: Callable[[str], list[Any]]) -> Callable[[str], list[Any]]:
    """`look_up`, but what it once found nothing for is not looked up again."""
    without_any: set[str] = set()

    def remembering(group: str) -> list[Any]:
        if group in without_any:
            return []
        found = look_up(group)
        if not found:
            without_any.add(group)
        return found

    return remembering
