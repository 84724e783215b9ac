"""Crash tests: sweeps are killed at named points, by SIGKILL and by SIGTERM, and then resumed.

A few run in the default suite; all of them:

    pytest tests/search/crash --all-crashes
"""

import json
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

CASES = Path(__file__).parent
DEFAULT = (
    ("cache written", signal.SIGKILL),
    ("after ask", signal.SIGTERM),
    ("state, between its files", signal.SIGKILL),
    ("row written", signal.SIGKILL),
    ("checkpoint, before its card", signal.SIGTERM),
    ("test set evaluated", signal.SIGKILL),
)
"""One of each kind runs in the default suite."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "point" in metafunc.fixturenames:
        from importlib import util

        spec = util.spec_from_file_location("crash_points", CASES / "points.py")
        if spec is None or spec.loader is None:
            raise FileNotFoundError(CASES / "points.py")
        module = sys.modules["crash_points"] = util.module_from_spec(spec)
        spec.loader.exec_module(module)
        signs = (signal.SIGKILL, signal.SIGTERM)
        every = [(point, sign) for point in module.POINTS for sign in signs]
        chosen = every if metafunc.config.getoption("--all-crashes", default=False) else DEFAULT
        names = [f"{point}-{sign.name}" for point, sign in chosen]
        metafunc.parametrize(("point", "sign"), chosen, ids=names)


def test_a_killed_sweep_resumes_with_the_results_of_an_uninterrupted_one(
    driver: Any,
    cases: ModuleType,
    script: ModuleType,
    uninterrupted: Any,
    tmp_path: Path,
    point: str,
    sign: signal.Signals,
) -> None:
    fresh = sys.modules["crash_points"].POINTS[point].fresh
    sandbox = cases.Sandbox(tmp_path / "case", uninterrupted.corpus)
    sandbox.set_up(script.write_sweep, cache=None if fresh else uninterrupted.runs / "cache")
    logs = {"log": sandbox.log, "acks": str(sandbox.acks)}
    code = driver.run(sandbox.command(), **logs, point=point, signal=int(sign))
    log = sandbox.log.read_text()
    assert code == (-sign if sign == signal.SIGKILL else 130), f"{code}: {log}"
    assert "Traceback" not in log
    before, epochs_of = sandbox.rows(), sandbox.unfinished_epochs()

    code = driver.run(sandbox.command(), **logs)
    assert code == 0, sandbox.log.read_text()
    assert cases.lost_rows(before, sandbox) == cases.duplicate_runs(sandbox) == []
    assert cases.problems(sandbox) == []
    after = sandbox.rows()
    for key, epochs in epochs_of.items():
        assert json.loads(after[key].facts)["resumed_after"] == epochs
    assert cases.reproducible_results(sandbox) == cases.reproducible_results(uninterrupted)
    assert cases.digests(sandbox) == cases.digests(uninterrupted)
