"""Hardware detection from the operating system, without Ray or PyTorch: CPUs, GPUs, OOM kills."""

import os
from pathlib import Path

CPU_QUOTA_FILE = Path("/sys/fs/cgroup/cpu.max")
"""A container's CPU quota: microseconds per period, or max (cgroup v2)."""

OOM_KILL_FILES = (Path("/proc/vmstat"), Path("/sys/fs/cgroup/memory.events"))
"""Where the kernel counts the processes that it killed when memory ran out: a line `oom_kill N`."""

GPU_DEVICES = tuple(map(Path, ("/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/kfd", "/dev/dxg")))
"""Device files whose presence means that PyTorch may find a GPU: NVIDIA's control device, which a
container has also if it is given only the second GPU; NVIDIA's Jetson boards; AMD; both under WSL.
"""

NO_GPU_VARIABLES = dict.fromkeys(
    ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"), ""
)
"""Environment variables that hide all GPUs; Ray sets the same for a process that requests none."""


def n_cpus() -> int:
    """How many cores this process may use, by CPU affinity and the container's quota."""
    affinity = getattr(os, "sched_getaffinity", None)
    n = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        quota, period = CPU_QUOTA_FILE.read_text().split()
    except (OSError, ValueError):
        return n
    return n if quota == "max" else max(1, min(n, int(quota) // int(period)))


def may_have_gpu() -> bool:
    """Whether PyTorch may find a GPU here; False only if there is certainly none."""
    return any(device.exists() for device in GPU_DEVICES)


def n_oom_kills() -> int:
    """How many processes the kernel has killed so far because memory ran out."""
    n = 0
    for file in OOM_KILL_FILES:
        try:
            lines = file.read_text().splitlines()
        except OSError:
            continue
        n += sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return n
