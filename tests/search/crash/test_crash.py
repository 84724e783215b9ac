"""Sweeps that are killed at named points, each by SIGKILL and SIGTERM, and then resumed.

Some of them run in the ordinary suite; all of them:

    pytest tests/search/crash --all-crashes
"""

import json
import signal
import sys
import time
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


RAY = ["--cluster.address", "local"]


@pytest.mark.ray
@pytest.mark.parametrize(
    "sign", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_trial_whose_worker_is_killed_goes_on_in_another_one(
    cases: ModuleType,
    script: ModuleType,
    whole: Any,
    driver: Any,
    tmp_path: Path,
    sign: signal.Signals,
) -> None:
    place = cases.Place(tmp_path / "case", whole.corpus, RAY)
    place.set_up(script.write_sweep, cache=whole.runs / "cache")
    case = {"folder": str(place.root), "acks": str(place.acks)}
    words = place.command()
    process = driver.run_alone(words, log=place.log, **case, die_at=2, signal=int(sign))
    assert process.wait(timeout=200) == 0, place.log.read_text()
    assert cases.problems(place) == cases.lost({}, place) == cases.run_twice(place) == []
    facts = [json.loads(row.facts) for row in place.rows().values()]
    [(n_lost, resumed_after)] = [
        (fact["n_lost"], fact["resumed_after"]) for fact in facts if "n_lost" in fact
    ]
    # of SIGTERM a worker of Ray hears when its trial reports next, an epoch later
    assert (n_lost, resumed_after) in ((1, 1), (1, 1 if sign == signal.SIGKILL else 2))


@pytest.mark.ray
@pytest.mark.slow
def test_sigterm_ends_a_sweep_on_ray_soon_and_it_goes_on(
    cases: ModuleType,
    script: ModuleType,
    whole: Any,
    driver: Any,
    tmp_path: Path,
) -> None:
    """As spot machines and `ray job stop` do it; they wait for half a minute."""
    place = cases.Place(tmp_path / "case", whole.corpus, RAY)
    place.set_up(script.write_sweep, cache=whole.runs / "cache")
    case = {"folder": str(place.root), "acks": str(place.acks)}
    process = driver.run_alone(place.command(), log=place.log, **case)
    give_up = time.monotonic() + 200
    while not place.rows() and process.poll() is None and time.monotonic() < give_up:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    asked = time.monotonic()
    code = process.wait(timeout=30)
    print(f"a sweep on Ray ended {time.monotonic() - asked:.1f} s after SIGTERM")
    assert code == 130, place.log.read_text()
    before = place.rows()
    assert place.query("select state, holder from chorale_studies") == [("interrupted", None)]
    assert driver.run_alone(place.command(), log=place.log, **case).wait(timeout=200) == 0
    assert cases.problems(place) == cases.lost(before, place) == cases.run_twice(place) == []
