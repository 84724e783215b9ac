"""Facts of one machine: versions, memory, disk, clock, storage, PyTorch and GPUs.

The code is sent to each node by value, so that it runs also without Chorale: it imports nothing of
Chorale and, at module level, only the standard library. `cluster.doctor.checks` evaluates them.
"""

import contextlib
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

IMPORT_TIMEOUT_S = 180
"""The first import of PyTorch from a slow disk takes long."""

IMPORT_PROBE = """
import importlib, json, sys
found = {"broken": {}}
for name in sys.argv[1:]:
    try:
        module = importlib.import_module(name)
        if name == "torchvision":   # its compiled part is tested, too
            import torch
            module.ops.nms(torch.rand(1, 4), torch.rand(1), 0.5)
    except BaseException as error:
        found["broken"][name] = [type(error).__name__, str(error)[:2000]]
found["gpus"] = []
try:
    import torch
    found["cuda"] = torch.version.cuda
    for i in range(torch.cuda.device_count()):
        gpu = {"name": torch.cuda.get_device_name(i)}
        found["gpus"].append(gpu)
        try:
            x = torch.rand(64, 64, device=f"cuda:{i}")
            if not torch.isfinite(x @ x).all().item():
                raise ArithmeticError("a product of finite matrices is not finite")
            gpu["free_bytes"], gpu["total_bytes"] = torch.cuda.mem_get_info(i)
        except BaseException as error:
            gpu["error"] = f"{type(error).__name__}: {error}"
except BaseException as error:
    found["broken"].setdefault("torch", [type(error).__name__, str(error)[:2000]])
print(json.dumps(found))
"""
"""Run in a subprocess: an incompatible library may crash it, and its end releases the GPU."""


@dataclass(frozen=True)
class NodeFacts:
    """Facts of one machine; sizes in bytes, times in seconds since 1970."""

    host: str
    python: str
    executable: str
    versions: dict[str, str | None]
    memory_free: int
    disk_free: int
    shared_memory: int | None
    began_s: float
    ended_s: float
    storage_error: str = ""
    """why the storage folder cannot be used on this machine; empty if it can"""
    n_gpus_present: int = 0
    """GPUs known to the system's driver"""
    torch: dict[str, Any] = field(default_factory=dict)
    """the output of `IMPORT_PROBE`: `broken` (module -> type and text of the error), `gpus`,
    `cuda`; `error` if the subprocess crashed; empty if it was not run"""


def collect_facts(
    names: Sequence[str], folder: str, token: str, *, modules: Sequence[str] = ()
) -> NodeFacts:
    """Collects the facts of this machine.

    Args:
        names: distributions whose versions are needed.
        folder: a folder that all machines should share; empty for none.
        token: the expected content of the file `.chorale-doctor-TOKEN` in it, which the driver
            wrote.
        modules: modules to import in a subprocess, which also tests the GPUs; takes seconds.
    """
    began_s = time.time()
    return NodeFacts(
        host=socket.gethostname(),
        python=platform.python_version(),
        executable=sys.executable,
        versions={name: _version(name) for name in names},
        memory_free=_memory_free(),
        disk_free=shutil.disk_usage(tempfile.gettempdir()).free,
        shared_memory=_shared_memory(),
        storage_error=_storage(folder, token) if folder else "",
        n_gpus_present=len(list(Path("/proc/driver/nvidia/gpus").glob("*"))),
        torch=_probe_imports(modules) if modules else {},
        began_s=began_s,
        ended_s=time.time(),
    )


@contextlib.contextmanager
def marker_file(folder: str, token: str) -> Iterator[str]:
    """Writes a file that other machines look for; yields the error, or an empty string."""
    path = Path(folder) / f".chorale-doctor-{token}"
    try:
        path.write_text(token)
    except OSError as error:
        yield f"cannot be written: {error.strerror}"
        return
    try:
        yield ""
    finally:
        path.unlink(missing_ok=True)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
    try:  # a checkout, or a job's working directory
        from chorale.cluster.versions import version_of
    except ImportError:
        return None
    return version_of(name)


def _storage(folder: str, token: str) -> str:
    """Why a folder cannot be used from here; empty if it can."""
    path = Path(folder) / f".chorale-doctor-{token}"
    try:
        if path.read_text() != token:
            return "differs from the driver's"
    except FileNotFoundError:
        return "is not the driver's" if Path(folder).is_dir() else "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    mine = Path(folder) / f".chorale-doctor-{token}-{socket.gethostname()}-{os.getpid()}"
    try:
        mine.write_text(token)
        mine.unlink()
    except OSError as error:
        return f"cannot be written: {error.strerror}"
    return ""


def _memory_free() -> int:
    """Free memory in bytes, of the machine or within the container's limit."""
    lines = Path("/proc/meminfo")
    if not lines.exists():  # macOS
        return int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    fields = dict(line.split(":", 1) for line in lines.read_text().splitlines())
    free = 1024 * int(fields["MemAvailable"].split()[0])
    limit, used = (Path("/sys/fs/cgroup", name) for name in ("memory.max", "memory.current"))
    if limit.exists() and (text := limit.read_text().strip()) != "max":
        free = min(free, int(text) - int(used.read_text()))
    return max(0, free)


def _shared_memory() -> int | None:
    """Size in bytes of /dev/shm, where Ray keeps its object store; None if it does not exist."""
    folder = Path("/dev/shm")
    return shutil.disk_usage(folder).total if folder.is_dir() else None


def _probe_imports(modules: Sequence[str]) -> dict[str, Any]:
    # Ray hides the GPUs from a process that requested none.
    kept = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", IMPORT_PROBE, *modules],
            capture_output=True,
            text=True,
            timeout=IMPORT_TIMEOUT_S,
            env=kept,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"imports took longer than {IMPORT_TIMEOUT_S} s", "gpus": []}
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        return {"error": f"ended with code {done.returncode}: {last}", "gpus": []}
    return dict(json.loads(lines[-1]))
