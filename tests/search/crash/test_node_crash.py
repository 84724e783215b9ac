"""Crash tests on two Ray nodes: one is killed at a named point, the sweep continues on the other.

By default one runs (with -m heavy); every point, by both signals:

    pytest tests/search/crash/test_node_crash.py --all-crashes
"""

import json
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

WORKERS: Mapping[str, dict[str, Any]] = {
    "first epoch": {"die_at": 1},
    "mid-training": {"die_at": 2},
    "finalist mid-training": {"die_at": 2, "die_in": "finalists"},
}
"""A node dies with a trial that runs on it: after which epoch, and in which stage."""
DRIVERS = (
    "after ask",
    "after report",
    "before tell",
    "predictions written",
    "row written",
    "finalist asked",
    "before finalist tell",
    "finalist's row written",
)
"""Crash points of the driver at which one of the two nodes dies, whatever runs on it."""
TIMEOUT_S = 600
DEFAULT = (("mid-training", signal.SIGKILL),)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "point" in metafunc.fixturenames:
        signs = (signal.SIGKILL, signal.SIGTERM)
        every = [(point, sign) for point in (*WORKERS, *DRIVERS) for sign in signs]
        chosen = every if metafunc.config.getoption("--all-crashes", default=False) else DEFAULT
        names = [f"{point}-{sign.name}" for point, sign in chosen]
        metafunc.parametrize(("point", "sign"), chosen, ids=names)


@pytest.fixture(scope="module")
def two_nodes(nodes: ModuleType) -> Iterator[Any]:
    with nodes.cluster(Path(__file__).parents[3]) as started:
        yield started


@pytest.mark.ray
@pytest.mark.heavy
@pytest.mark.timeout(2 * TIMEOUT_S)
def test_a_sweep_continues_on_the_other_node(
    cases: ModuleType,
    script: ModuleType,
    uninterrupted: Any,
    two_nodes: Any,
    tmp_path: Path,
    point: str,
    sign: signal.Signals,
) -> None:
    sandbox = cases.Sandbox(
        tmp_path / "case", uninterrupted.corpus, ["--cluster.address", two_nodes.address]
    )
    sandbox.set_up(script.write_sweep, cache=uninterrupted.runs / "cache")
    two_nodes.fill()
    case: dict[str, Any] = {
        "folder": str(sandbox.root),
        "acks": str(sandbox.acks),
        "signal": int(sign),
    }
    case |= WORKERS.get(point, {"point": point}) | {"nodes": two_nodes.raylets}
    process = script.Driver.run_alone(sandbox.command(), log=sandbox.log, **case)
    try:
        code = process.wait(timeout=TIMEOUT_S)
    finally:
        process.kill()
    assert code == 0, sandbox.log.read_text()
    assert two_nodes.dead() == 1, "no node was killed"
    assert "Traceback" not in sandbox.log.read_text()
    assert (
        cases.problems(sandbox)
        == cases.lost_rows({}, sandbox)
        == cases.duplicate_runs(sandbox)
        == []
    )
    if point in WORKERS:
        facts = [json.loads(row.facts) for row in sandbox.rows().values()]
        lost = [(fact["n_lost"], fact["resumed_after"]) for fact in facts if "n_lost" in fact]
        # the last epoch may have been saved before the node died
        died_at = WORKERS[point]["die_at"]
        assert lost in ([(1, died_at - 1)], [(1, died_at)])
