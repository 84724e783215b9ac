"""Measures a training's peak memory, and limits its GPU memory.

`search.training.run_trial` measures each of its runs, so that later ones can share a GPU.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path

import torch

PROCESS = Path("/proc/self")

RESET_PEAK = "5"
"""The value that resets the kernel's high-water mark VmHWM (man 5 proc, clear_refs)."""


@dataclass(frozen=True)
class PeakMemory:
    """The peak memory since `reset_peak`.

    `peak_bytes` is, on a GPU, what PyTorch's caching allocator reserved; on a CPU, the resident
    memory of the process. `device_bytes` is the size of the GPU; None on a CPU.
    """

    peak_bytes: int
    device_bytes: int | None


def reset_peak(device: torch.device) -> None:
    """Starts a measurement."""
    if device.type == "cuda":
        torch.cuda.empty_cache()  # of the previous trial, which may have been larger
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):  # without this file nothing is measured
        (PROCESS / "clear_refs").write_text(RESET_PEAK)


def measured_peak(device: torch.device) -> PeakMemory | None:
    """The most that was held since `reset_peak`; None where that cannot be known."""
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        return PeakMemory(torch.cuda.max_memory_reserved(device), total)
    try:
        status = (PROCESS / "status").read_text()
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return PeakMemory(int(line.split()[1]) * 1024, None)
    return None


def limit_gpu_memory(share: float, device: torch.device, *, beside_bytes: int) -> None:
    """Limits this process to `share` of a GPU, so that it runs out of memory before others do.

    Does nothing on a CPU, where there is no such limit for resident memory.

    Args:
        share: above 0, up to 1.
        device: the GPU.
        beside_bytes: memory of the process that PyTorch does not count, as the CUDA context.
    """
    if device.type != "cuda":
        return
    total = torch.cuda.get_device_properties(device).total_memory
    beside = beside_bytes / total if share < 1 else 0.0
    torch.cuda.set_per_process_memory_fraction(max(share - beside, share / 2), device)
