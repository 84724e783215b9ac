"""Pytest configuration of all tests: signals, one core and Numba cache per worker, groups."""

import importlib
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import pytest

if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    # before torch is imported: other tests run on the other cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # before numba is imported: two processes that compile and cache one of librosa's generalised
    # ufuncs at the same time leave a cache entry that crashes when it is called
    cache = Path(__file__).parents[1] / "build" / f"numba-{worker}"
    os.environ.setdefault("NUMBA_CACHE_DIR", str(cache))


def pytest_configure() -> None:
    """Restores Ctrl-C, which a runner in the background inherits as ignored; tests send it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Runs each file in one process, and all that start Ray in the same one."""
    with_ray = {item.path for item in items if item.get_closest_marker("ray") is not None}
    for item in items:
        group = "ray" if item.path in with_ray else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def load_benchmark() -> Callable[[str], ModuleType]:
    """Imports a script of `tests/benchmarks`, and what it imports from there, as a module."""

    def load(name: str) -> ModuleType:
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(Path(__file__).parent / "benchmarks")
            return importlib.import_module(name)

    return load
