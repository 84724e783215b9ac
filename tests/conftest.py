"""Pytest configuration of all tests: signals, one thread per worker, groups."""

import atexit
import gc
import importlib
import os
import re
import signal
from collections.abc import Callable, Generator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import chorale.lightning_models.patches.lean_lightning  # noqa: F401 - saves each worker 4 s

if "PYTEST_XDIST_WORKER" in os.environ:
    # before torch is imported: other tests run on the other cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.pop("COLUMNS", None)  # xdist sets it to 80, which the commands would obey


MEMORY_DISK, N_FREE_BYTES = "/dev/shm", 4 * 2**30
"""A file system in memory, and how much of it must be free: all tests use less than 1 GiB."""

if Path(MEMORY_DISK).is_dir():
    memory = os.statvfs(MEMORY_DISK)
    allows_programs = not memory.f_flag & getattr(os, "ST_NOEXEC", 0)  # containers forbid them
    if allows_programs and memory.f_bavail * memory.f_frsize >= N_FREE_BYTES:
        # files and databases are synced, which takes 3 ms each on a disk
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", MEMORY_DISK)

gc.disable()  # until all tests are collected


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collects tests without collecting garbage, and never scans again what that created.

    A million objects, mostly modules, which would take a second of each full garbage collection.
    """
    try:
        return (yield)
    finally:
        gc.freeze()
        atexit.register(gc.unfreeze)  # some libraries complain of objects that outlive Python
        gc.enable()


def pytest_configure() -> None:
    """Restores Ctrl-C, which a runner in the background inherits as ignored; tests send it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """One worker more than there are cores: tests wait for Ray, other processes and the disk."""
    return (yield) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the groups of files first, and then the slow files, so that all workers end together.

    Tests that start Ray take the longest. Those on a private Ray come before those on clusters of
    several nodes, so it starts only once. Of them, the crash tests wait for another worker's sweep.
    """
    items.sort(
        key=lambda item: (
            not starts_ray(item.path),
            has_own_cluster(item.path),
            is_of_crashes(item.path) == starts_ray(item.path),
            not calls_librosa(item.path),
            not is_slow(item.path),
        )
    )


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Gives each file's tests to one worker, and all files that start Ray to the same one.

    Those end last, so that the other crash tests, which share a sweep, go to another one. All files
    that call librosa go to one worker as well: where Numba's cache is empty, it compiles for half a
    minute; and those that import transformers or torchvision, which takes seconds.

    Not by the marker `xdist_group`: pytest-xdist 3.8.0 ignores it with pytest 9.2.
    """
    from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

    class Scheduler(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = str(super()._split_scope(nodeid))
            path = config.rootpath / file
            if starts_ray(path):
                return "ray"
            if is_of_crashes(path):
                return "crash"
            if calls_librosa(path):
                return "librosa"
            return "transformers" if imports_transformers(path) else file

    return Scheduler(config, log)


@cache
def starts_ray(file: Path) -> bool:
    """Whether a test of the file has the marker `ray`."""
    return "pytest.mark.ray" in file.read_text(encoding="utf-8")


def is_of_crashes(file: Path) -> bool:
    """Whether the file's tests kill sweeps, and share the uninterrupted one."""
    return file.parent.name == "crash"


@cache
def calls_librosa(file: Path) -> bool:
    """Whether the file imports librosa, or sweeps on statistics that are computed with it."""
    text = file.read_text(encoding="utf-8")
    return re.search(r"(import|from) librosa\b|features: \{\{stats", text) is not None


@cache
def imports_transformers(file: Path) -> bool:
    """Whether a test of the file imports transformers or torchvision, which share most imports."""
    text = file.read_text(encoding="utf-8")
    return re.search(r"^ +(import|from) (transformers|torchvision)\b", text, re.M) is not None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before a test that calls librosa, imports what it would compile at once, as the product does.

    So only the functions are compiled that are called, by one process at a time.
    """
    if calls_librosa(item.path):
        from chorale.datasets.dsp.librosa_parts import librosa_module

        for part in ("util.utils", "core.audio", "core.pitch"):
            librosa_module(part)


@cache
def is_slow(file: Path) -> bool:
    """Whether a test of the file has the marker `slow`."""
    return "pytest.mark.slow" in file.read_text(encoding="utf-8")


@cache
def has_own_cluster(file: Path) -> bool:
    """Whether a test of the file starts Ray nodes of its own."""
    text = file.read_text(encoding="utf-8")
    return "own_cluster" in text or "shared_nodes" in text


@pytest.fixture(scope="session")
def load_benchmark() -> Callable[[str], ModuleType]:
    """Imports a script of `tests/benchmarks`, and what it imports from there, as a module."""

    def load(name: str) -> ModuleType:
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(Path(__file__).parent / "benchmarks")
            return importlib.import_module(name)

    return load
