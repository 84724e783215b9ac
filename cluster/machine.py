"""What this machine has for trials, as the system tells it: no Ray, no PyTorch."""

import os
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""What a container may use of the processors: microseconds of each period, or max (cgroup v2)."""

KILLS = (Path("/proc/vmstat"), Path("/sys/fs/cgroup/memory.events"))
"""Where the kernel counts the processes that it ended as memory ran out: a line `oom_kill N`."""

GPUS = tuple(map(Path, ("/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/kfd", "/dev/dxg")))
"""Devices that are there where PyTorch may find a GPU: NVIDIA's, also where a container is given
but the second one, those of its boards, AMD's, and either's under WSL."""

HIDDEN = dict.fromkeys(("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"), "")
"""The environment of a process that is to find no GPU; Ray gives it to one that asks for none."""


def n_cpus() -> int:
    """How many cores this process may use: those that it is bound to, or the container's share."""
    affinity = getattr(os, "sched_getaffinity", None)
    n = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        quota, period = QUOTA.read_text().split()
    except (OSError, ValueError):
        return n
    return n if quota == "max" else max(1, min(n, int(quota) // int(period)))


def may_have_gpu() -> bool:
    """Whether PyTorch may find a GPU here; False only where there is none for sure."""
    return any(device.exists() for device in GPUS)


def n_killed() -> int:
    """How many processes the kernel has ended so far as memory ran out, of all that it tells of."""
    n = 0
    for file in KILLS:
        try:
            lines = file.read_text().splitlines()
        except OSError:
            continue
        n += sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return n
