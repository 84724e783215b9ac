import json
from pathlib import Path

import pytest
import ray

from chorale.cluster.base import ClusterError
from chorale.cluster.doctor import doctor
from chorale.cluster.doctor.checks import Check, State, first_failure
from chorale.cluster.doctor.node_facts import look
from chorale.search.cli import main

GOOD = Check("10.0.0.1", "versions", State.OK, "as here")
BAD = Check("10.0.0.2", "versions", State.FAILED, "torch 2.10.0 (here 2.11.0)", "pip install x")
SCANT = Check("10.0.0.2", "disk", State.WARNING, "5.0 GiB free", "make room")


@pytest.fixture
def token_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    return tmp_path / "token"


def test_a_token_that_others_can_read_fails_with_what_shuts_it(token_file: Path) -> None:
    assert [check.state for check in doctor.token()] == [State.OK]
    token_file.write_text("secret")
    token_file.chmod(0o644)
    [check] = doctor.token()
    assert (check.state, check.mend) == (State.FAILED, f"chmod 600 {token_file}")
    token_file.chmod(0o600)
    assert [check.state for check in doctor.token()] == [State.OK]
    assert "secret" not in str(doctor.token())


def test_a_port_that_strangers_reach_fails_unless_it_asks_for_a_token() -> None:
    states = {
        (host, asks): doctor._port("job port", f"{host}:1", host, asks=asks).state
        for host in ("192.0.2.1", "127.0.0.1")
        for asks in (True, False)
    }
    assert states.pop(("192.0.2.1", False)) is State.FAILED
    assert set(states.values()) == {State.OK}


def test_the_quick_part_stops_a_sweep_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_nodes", lambda **_: [GOOD, SCANT])
    doctor.quick()
    monkeypatch.setattr(doctor, "_nodes", lambda **_: [GOOD, SCANT, BAD])
    with pytest.raises(ClusterError) as raised:
        doctor.quick()
    assert str(raised.value) == (
        "node 10.0.0.2: versions: torch 2.10.0 (here 2.11.0); mend it with: pip install x "
        "(all checks: chorale doctor --address auto)"
    )


@pytest.mark.parametrize(("is_alive", "state"), [(False, State.WARNING), (True, State.FAILED)])
def test_a_node_that_leaves_while_it_is_asked_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, *, is_alive: bool, state: State
) -> None:
    node = {"NodeID": "9a4a11", "NodeManagerAddress": "10.0.0.3", "Resources": {}}

    def lost(_: object) -> None:
        raise ray.exceptions.RayError("The task is not schedulable: the node doesn't exist")

    monkeypatch.setattr(ray, "get", lost)
    monkeypatch.setattr(doctor, "_alive", lambda: [node] if is_alive else [])
    mine = look([], "", "")
    checks = doctor._answer(None, node, mine, folder="", sent_s=0.0, got_s=1.0)
    assert [(one.what, one.state) for one in checks] == [("reachable", state)]
    assert (first_failure(checks) is None) != is_alive


@pytest.mark.parametrize(("checks", "code"), [([GOOD, SCANT], 0), ([GOOD, SCANT, BAD], 1)])
def test_the_command_shows_each_fault_with_what_mends_it(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    checks: list[Check],
    code: int,
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda *_, **__: checks)
    assert main(["doctor"]) == code
    said = capsys.readouterr().out
    assert "warning 10.0.0.2, disk: make room" in said
    assert ("FAILED 10.0.0.2, versions: pip install x" in said) is bool(code)
    assert f"{len(checks)} checks: {'1' if code else 'none'} failed, 1 warning" in said
    assert main(["doctor", "--json"]) == code
    assert [one["state"] for one in json.loads(capsys.readouterr().out)] == [
        check.state.value for check in checks
    ]


def test_a_word_too_many_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "head"]) == 1
    assert "takes no name, but got 'head'" in capsys.readouterr().err


@pytest.mark.slow
def test_this_machine_is_looked_at_without_a_cluster(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], token_file: Path
) -> None:
    assert main(["doctor", "--runs", str(tmp_path / "runs"), "--json"]) == 0
    found = {one["what"]: one for one in json.loads(capsys.readouterr().out)}
    assert {"token", "packages", "memory", "disk", "storage", "imports", "GPU"} <= found.keys()
    assert str(tmp_path) in found["storage"]["said"]
    assert list(tmp_path.iterdir()) == []
