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


@pytest.fixture(
    scope="module", params=[signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.heavy)]
)
def swept(
    request: pytest.FixtureRequest,
    cases: ModuleType,
    script: ModuleType,
    uninterrupted: Any,
    driver: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    """A sweep on a private Ray, one of whose workers was killed after its trial's second epoch."""
    root = tmp_path_factory.mktemp("ray") / "case"
    sandbox = cases.Sandbox(root, uninterrupted.corpus, RAY)
    sandbox.set_up(script.write_sweep, cache=uninterrupted.runs / "cache")
    case = {"folder": str(root), "acks": str(sandbox.acks), "die_at": 2, "signal": request.param}
    assert driver.run_here(sandbox.command(), log=sandbox.log, **case) == 0, sandbox.log.read_text()
    return sandbox


def test_a_trial_whose_worker_is_killed_resumes_in_another_worker(
    cases: ModuleType, swept: Any, request: pytest.FixtureRequest
) -> None:
    assert cases.problems(swept) == cases.lost_rows({}, swept) == cases.duplicate_runs(swept) == []
    facts = [json.loads(row.facts) for row in swept.rows().values()]
    # asked to end, a worker saves the epoch that it has just reported
    is_asked = request.node.callspec.params["swept"] == signal.SIGTERM
    name, after = ("n_preempted", 2) if is_asked else ("n_lost", 1)
    ends = [(fact[name], fact["resumed_after"]) for fact in facts if name in fact]
    assert ends == [(1, after)]


def test_a_sweep_on_ray_reports_the_same_figures_as_one_in_this_process(
    swept: Any, uninterrupted: Any
) -> None:
    report, expected = (
        json.loads((one.study / "report.json").read_text()) for one in (swept, uninterrupted)
    )
    assert report.keys() == expected.keys()
    for name in ("dataset", "split"):
        assert report[name] == expected[name]
    assert report["trials"]["per_architecture"] == expected["trials"]["per_architecture"]
    assert report["ensemble"].keys() == expected["ensemble"].keys()
    assert report["ensemble"]["test"].keys() == expected["ensemble"]["test"].keys()
    assert report["ensemble"]["test"]["accuracy"] > 0.8


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
    # a study begun on Ray goes on without it, which starts sooner; a fork could not start Ray
    sandbox.args = ["--cluster.address", "none"]
    logs = {"log": sandbox.log, "acks": str(sandbox.acks)}
    assert driver.run(sandbox.command(), **logs) == 0, sandbox.log.read_text()
    assert (
        cases.problems(sandbox)
        == cases.lost_rows(before, sandbox)
        == cases.duplicate_runs(sandbox)
        == []
    )
