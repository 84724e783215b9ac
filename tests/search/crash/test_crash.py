"""Sweeps that are killed at named points, each by SIGKILL and SIGTERM, and then resumed.

Some of them run in the ordinary suite; all of them:

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
ORDINARY = (
    ("cache written", signal.SIGKILL),
    ("after ask", signal.SIGTERM),
    ("state, between its files", signal.SIGKILL),
    ("before tell", signal.SIGKILL),
    ("bank", signal.SIGKILL),
    ("row written", signal.SIGKILL),
    ("checkpoint, before its card", signal.SIGTERM),
    ("test set looked at", signal.SIGKILL),
)
"""One of each kind."""


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
        chosen = every if metafunc.config.getoption("--all-crashes", default=False) else ORDINARY
        names = [f"{point}-{sign.name}" for point, sign in chosen]
        metafunc.parametrize(("point", "sign"), chosen, ids=names)


def test_a_killed_sweep_goes_on_as_if_nothing_had_happened(
    driver: Any,
    cases: ModuleType,
    script: ModuleType,
    whole: Any,
    tmp_path: Path,
    point: str,
    sign: signal.Signals,
) -> None:
    fresh = sys.modules["crash_points"].POINTS[point].fresh
    place = cases.Place(tmp_path / "case", whole.corpus)
    place.set_up(script.write_sweep, cache=None if fresh else whole.runs / "cache")
    noted = {"log": place.log, "acks": str(place.acks)}
    code = driver.run(place.command(), **noted, point=point, signal=int(sign))
    said = place.log.read_text()
    assert code == (-sign if sign == signal.SIGKILL else 130), f"{code}: {said}"
    assert "Traceback" not in said
    before, states = place.rows(), place.states()

    code = driver.run(place.command(), **noted)
    assert code == 0, place.log.read_text()
    assert cases.lost(before, place) == cases.run_twice(place) == []
    assert cases.problems(place) == []
    after = place.rows()
    for key, epochs in states.items():
        assert json.loads(after[key].facts)["resumed_after"] == epochs
    assert cases.results(place) == cases.results(whole)
    assert cases.digests(place) == cases.digests(whole)
