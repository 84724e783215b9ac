"""What all tests need: signals as a terminal gives them, one Ray, a core and a cache each."""

import os
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    # before torch asks: other tests run on the other cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # before numba asks: two processes that compile and keep one of librosa's generalised ufuncs at
    # the same time leave a cache from which it is loaded as a call to nowhere
    cache = Path(__file__).parents[1] / "build" / f"numba-{worker}"
    os.environ.setdefault("NUMBA_CACHE_DIR", str(cache))


def pytest_configure() -> None:
    """A runner that is started in the background inherits that Ctrl-C is ignored; tests send it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Each file runs in one process, and those that start Ray all in the same one."""
    with_ray = {item.path for item in items if item.get_closest_marker("ray") is not None}
    for item in items:
        group = "ray" if item.path in with_ray else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
