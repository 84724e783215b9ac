"""One driver, one corpus and one uninterrupted sweep for all tests of this folder."""

import importlib.util
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
def crash_corpus(script: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("crash") / "corpus"
    script.make_corpus(root)
    return root


@pytest.fixture(scope="session")
def uninterrupted(driver: Any, cases: ModuleType, script: ModuleType, crash_corpus: Path) -> Any:
    """The same sweep, never interrupted."""
    sandbox = cases.Sandbox(crash_corpus.parent / "uninterrupted", crash_corpus)
    sandbox.set_up(script.write_sweep, cache=None)
    code = driver.run(sandbox.command(), log=sandbox.log, in_driver=True)
    assert code == 0, sandbox.log.read_text()
    assert cases.problems(sandbox) == []
    return sandbox
