"""Crash tests on a private Ray: a worker is killed, or the driver gets SIGTERM."""

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
    "sign", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.heavy)]
)
def test_a_trial_whose_worker_is_killed_resumes_in_another_worker(
    cases: ModuleType,
    script: ModuleType,
    uninterrupted: Any,
    driver: Any,
    tmp_path: Path,
    sign: signal.Signals,
) -> None:
    sandbox = cases.Sandbox(tmp_path / "case", uninterrupted.corpus, RAY)
    sandbox.set_up(script.write_sweep, cache=uninterrupted.runs / "cache")
    case = {"folder": str(sandbox.root), "acks": str(sandbox.acks)}
    args = sandbox.command()
    process = driver.run_alone(args, log=sandbox.log, **case, die_at=2, signal=int(sign))
    assert process.wait(timeout=200) == 0, sandbox.log.read_text()
    assert (
        cases.problems(sandbox)
        == cases.lost_rows({}, sandbox)
        == cases.duplicate_runs(sandbox)
        == []
    )
    facts = [json.loads(row.facts) for row in sandbox.rows().values()]
    [(n_lost, resumed_after)] = [
        (fact["n_lost"], fact["resumed_after"]) for fact in facts if "n_lost" in fact
    ]
    # a Ray worker handles SIGTERM at its trial's next report, an epoch later
    assert (n_lost, resumed_after) in ((1, 1), (1, 1 if sign == signal.SIGKILL else 2))


@pytest.mark.heavy
def test_sigterm_ends_a_sweep_on_ray_within_30_s_and_it_resumes(
    cases: ModuleType,
    script: ModuleType,
    uninterrupted: Any,
    driver: Any,
    tmp_path: Path,
) -> None:
    """Spot instances and `ray job stop` send SIGTERM and wait for half a minute."""
    sandbox = cases.Sandbox(tmp_path / "case", uninterrupted.corpus, RAY)
    sandbox.set_up(script.write_sweep, cache=uninterrupted.runs / "cache")
    case = {"folder": str(sandbox.root), "acks": str(sandbox.acks)}
    process = driver.run_alone(sandbox.command(), log=sandbox.log, **case)
    deadline = time.monotonic() + 200
    while not sandbox.rows() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    stopped = time.monotonic()
    code = process.wait(timeout=30)
    print(f"a sweep on Ray ended {time.monotonic() - stopped:.1f} s after SIGTERM")
    assert code == 130, sandbox.log.read_text()
    before = sandbox.rows()
    assert sandbox.query("select state, holder from chorale_studies") == [("interrupted", None)]
    sandbox.args = []  # a study begun on Ray goes on without it, which starts sooner
    logs = {"log": sandbox.log, "acks": str(sandbox.acks)}
    assert driver.run(sandbox.command(), **logs) == 0, sandbox.log.read_text()
    assert (
        cases.problems(sandbox)
        == cases.lost_rows(before, sandbox)
        == cases.duplicate_runs(sandbox)
        == []
    )
