"""Sweeps on two nodes of which one is killed at a named point: they go on on the other one.

One runs in the ordinary suite; every point, by both signals:

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
"""A node dies with a training that runs on it: after which epoch, and in which stage."""
DRIVERS = (
    "after ask",
    "after report",
    "before tell",
    "bank written",
    "row written",
    "finalist asked",
    "before finalist told",
    "finalist's row written",
)
"""Points of the driver at which one of the two nodes dies, whatever runs on it."""
TIMEOUT_S = 600
ORDINARY = (("mid-training", signal.SIGKILL),)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "point" in metafunc.fixturenames:
        signs = (signal.SIGKILL, signal.SIGTERM)
        every = [(point, sign) for point in (*WORKERS, *DRIVERS) for sign in signs]
        chosen = every if metafunc.config.getoption("--all-crashes", default=False) else ORDINARY
        names = [f"{point}-{sign.name}" for point, sign in chosen]
        metafunc.parametrize(("point", "sign"), chosen, ids=names)


@pytest.fixture(scope="module")
def two_nodes(nodes: ModuleType) -> Iterator[Any]:
    with nodes.cluster(Path(__file__).parents[3]) as made:
        yield made


@pytest.mark.ray
@pytest.mark.heavy
@pytest.mark.timeout(2 * TIMEOUT_S)
def test_a_sweep_goes_on_on_the_other_node(
    cases: ModuleType,
    script: ModuleType,
    whole: Any,
    two_nodes: Any,
    tmp_path: Path,
    point: str,
    sign: signal.Signals,
) -> None:
    place = cases.Place(tmp_path / "case", whole.corpus, ["--cluster.address", two_nodes.address])
    place.set_up(script.write_sweep, cache=whole.runs / "cache")
    two_nodes.fill()
    case: dict[str, Any] = {"folder": str(place.root), "acks": str(place.acks), "signal": int(sign)}
    case |= WORKERS.get(point, {"point": point}) | {"nodes": two_nodes.raylets}
    process = cases.Driver.run_alone(place.command(), log=place.log, **case)
    try:
        code = process.wait(timeout=TIMEOUT_S)
    finally:
        process.kill()
    assert code == 0, place.log.read_text()
    assert two_nodes.dead() == 1, "no node was killed"
    said = place.log.read_text()
    assert "Traceback" not in said
    assert cases.problems(place) == cases.lost({}, place) == cases.run_twice(place) == []
    if point in WORKERS:
        facts = [json.loads(row.facts) for row in place.rows().values()]
        lost = [(fact["n_lost"], fact["resumed_after"]) for fact in facts if "n_lost" in fact]
        # what was reported last may have been saved by the time that the node is gone
        died_at = WORKERS[point]["die_at"]
        assert lost in ([(1, died_at - 1)], [(1, died_at)])
