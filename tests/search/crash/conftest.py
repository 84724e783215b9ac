"""One corpus and one uninterrupted sweep for all tests of this folder, one driver per process."""

import fcntl
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def _load(name: str) -> ModuleType:
    """Loads a file of this folder as a module, since `driver.py` also runs as a script."""
    path = Path(__file__).parent / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"crash_{name}", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = sys.modules[f"crash_{name}"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option exists only where this folder is named on the command line."""
    parser.addoption("--all-crashes", action="store_true", help="every point, by both signals")


@pytest.fixture(scope="session")
def cases() -> ModuleType:
    return _load("cases")


@pytest.fixture(scope="session")
def nodes() -> ModuleType:
    return _load("nodes")


@pytest.fixture(scope="session")
def disks() -> ModuleType:
    return _load("disks")


@pytest.fixture(scope="session")
def script() -> ModuleType:
    return _load("driver")


@pytest.fixture(scope="session")
def driver(script: ModuleType) -> Iterator[Any]:
    with script.Driver() as driver:
        yield driver


@pytest.fixture(scope="session")
def uninterrupted(
    driver: Any, cases: ModuleType, script: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """The same sweep, never interrupted: by the first process that needs it, for all of them."""
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "uninterrupted"
    root.mkdir(exist_ok=True)
    sandbox, complete = cases.Sandbox(root / "case", root / "corpus"), root / "complete"
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            script.make_corpus(sandbox.corpus)
            sandbox.set_up(script.write_sweep, cache=None)
            code = driver.run(sandbox.command(), log=sandbox.log, in_driver=True)
            assert code == 0, sandbox.log.read_text()
            complete.touch()
    assert cases.problems(sandbox) == []
    return sandbox
