"""How much memory a training takes, measured, and how much it may take.

`search.training.run_trial` measures each of its runs, so that later ones can share a GPU.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path

import torch

PROCESS = Path("/proc/self")

RESET_PEAK = "5"
"""What resets the kernel's high-water mark, VmHWM, when it is written (man 5 proc, clear_refs)."""


@dataclass(frozen=True)
class Memory:
    """`peak_bytes` is the most that was held since `reset`: of the GPU, tensors and what PyTorch
    keeps for more of them; of the processor, the resident memory of the whole process.
    `device_bytes` is the size of the GPU; None on a processor.
    """

    peak_bytes: int
    device_bytes: int | None


def reset(device: torch.device) -> None:
    """Begins to measure."""
    if device.type == "cuda":
        torch.cuda.empty_cache()  # of the trial before, which may have been larger
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):  # where there is no such file nothing is measured
        (PROCESS / "clear_refs").write_text(RESET_PEAK)


def measured(device: torch.device) -> Memory | None:
    """The most that was held since `reset`; None where that cannot be known."""
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        return Memory(torch.cuda.max_memory_reserved(device), total)
    try:
        status = (PROCESS / "status").read_text()
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return Memory(int(line.split()[1]) * 1024, None)
    return None


def limit(share: float, device: torch.device, *, beside_bytes: int) -> None:
    """Lets this process hold no more than `share` of a GPU: it runs out of memory before others do.

    Does nothing on a processor, where there is no such limit for resident memory.

    Args:
        share: above 0, up to 1.
        device: the GPU.
        beside_bytes: what the process takes of it that PyTorch does not count.
    """
    if device.type != "cuda":
        return
    total = torch.cuda.get_device_properties(device).total_memory
    beside = beside_bytes / total if share < 1 else 0.0
    torch.cuda.set_per_process_memory_fraction(max(share - beside, share / 2), device)
