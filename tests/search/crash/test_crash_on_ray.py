"""Sweeps on a private Ray of which a worker is killed, or the driver told to end."""

import json
import signal
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.ray

RAY = ["--cluster.address", "local"]


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
