"""What one machine says of itself: versions, memory, disk, clock, storage, PyTorch and GPUs.

It is sent to each node as it stands, so that it runs also where Chorale is missing: it imports
nothing of Chorale and, at its top, nothing that must be installed. `cluster.doctor.doctor` judges.
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
"""A first import of PyTorch from a slow disk takes long."""

TRIED = """
import importlib, json, sys
said = {"broken": {}}
for name in sys.argv[1:]:
    try:
        module = importlib.import_module(name)
        if name == "torchvision":   # its compiled part is asked for, too
            import torch
            module.ops.nms(torch.rand(1, 4), torch.rand(1), 0.5)
    except BaseException as error:
        said["broken"][name] = [type(error).__name__, str(error)[:2000]]
said["gpus"] = []
try:
    import torch
    said["cuda"] = torch.version.cuda
    for i in range(torch.cuda.device_count()):
        gpu = {"name": torch.cuda.get_device_name(i)}
        said["gpus"].append(gpu)
        try:
            x = torch.rand(64, 64, device=f"cuda:{i}")
            if not torch.isfinite(x @ x).all().item():
                raise ArithmeticError("a product of finite matrices is not finite")
            gpu["free_bytes"], gpu["total_bytes"] = torch.cuda.mem_get_info(i)
        except BaseException as error:
            gpu["error"] = f"{type(error).__name__}: {error}"
except BaseException as error:
    said["broken"].setdefault("torch", [type(error).__name__, str(error)[:2000]])
print(json.dumps(said))
"""
"""Run in a process of its own: a library that does not fit may end it, and a GPU stays taken."""


@dataclass(frozen=True)
class Facts:
    """One machine, as it sees itself; sizes in bytes, times in seconds since 1970."""

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
    """why the folder that was asked about cannot be used from here"""
    n_gpus_present: int = 0
    """graphics cards that the system's driver knows"""
    torch: dict[str, Any] = field(default_factory=dict)
    """what `TRIED` printed: `broken` (module -> type and text of the error), `gpus`, `cuda`; where
    the process itself ended, `error`; empty where it was not asked"""


def look(names: Sequence[str], folder: str, token: str, *, modules: Sequence[str] = ()) -> Facts:
    """Looks around on this machine.

    Args:
        names: distributions whose versions are wanted.
        folder: one that all machines should share; empty: none.
        token: what the file `.chorale-doctor-TOKEN` in it should hold, if another machine wrote it.
        modules: what is imported for a try, with a look at the GPUs, which takes seconds.
    """
    began_s = time.time()
    return Facts(
        host=socket.gethostname(),
        python=platform.python_version(),
        executable=sys.executable,
        versions={name: _version(name) for name in names},
        memory_free=_memory_free(),
        disk_free=shutil.disk_usage(tempfile.gettempdir()).free,
        shared_memory=_shared_memory(),
        storage_error=_storage(folder, token) if folder else "",
        n_gpus_present=len(list(Path("/proc/driver/nvidia/gpus").glob("*"))),
        torch=_tried(modules) if modules else {},
        began_s=began_s,
        ended_s=time.time(),
    )


@contextlib.contextmanager
def shared_file(folder: str, token: str) -> Iterator[str]:
    """Lays a file into a folder for other machines to find; gives why that failed, or nothing."""
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
    try:  # a checkout, or what came with a job
        from chorale.cluster.versions import version_of
    except ImportError:
        return None
    return version_of(name)


def _storage(folder: str, token: str) -> str:
    """Why a folder cannot be used from here; nothing where it can."""
    path = Path(folder) / f".chorale-doctor-{token}"
    try:
        if path.read_text() != token:
            return "holds something else than on the driver"
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
    """What is left of the machine's memory, or of what the container may use."""
    lines = Path("/proc/meminfo")
    if not lines.exists():  # macOS
        return int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    said = dict(line.split(":", 1) for line in lines.read_text().splitlines())
    free = 1024 * int(said["MemAvailable"].split()[0])
    limit, used = (Path("/sys/fs/cgroup", name) for name in ("memory.max", "memory.current"))
    if limit.exists() and (text := limit.read_text().strip()) != "max":
        free = min(free, int(text) - int(used.read_text()))
    return max(0, free)


def _shared_memory() -> int | None:
    """The size of shared memory, where Ray's objects lie; None where there is no such folder."""
    folder = Path("/dev/shm")
    return shutil.disk_usage(folder).total if folder.is_dir() else None


def _tried(modules: Sequence[str]) -> dict[str, Any]:
    # Ray hides the GPUs from a process that asked for none.
    kept = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", TRIED, *modules],
            capture_output=True,
            text=True,
            timeout=IMPORT_TIMEOUT_S,
            env=kept,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"not all is imported after {IMPORT_TIMEOUT_S} s", "gpus": []}
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        return {"error": f"ended with code {done.returncode}: {last}", "gpus": []}
    return dict(json.loads(lines[-1]))
