import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import ray

from chorale.cluster.base import ClusterError
from chorale.cluster.doctor import doctor
from chorale.cluster.doctor.checks import Check, CheckState, first_failed
from chorale.cluster.doctor.node_facts import collect_facts
from chorale.search.cli import main

GOOD = Check("10.0.0.1", "versions", CheckState.OK, "as here")
BAD = Check(
    "10.0.0.2", "versions", CheckState.FAILED, "torch 2.10.0 (here 2.11.0)", "pip install x"
)
LOW = Check("10.0.0.2", "disk", CheckState.WARNING, "5.0 GiB free", "free some space")


@pytest.fixture
def token_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    return tmp_path / "token"


def test_a_token_file_that_others_can_read_fails_with_its_fix(token_file: Path) -> None:
    assert [check.state for check in doctor.check_token()] == [CheckState.OK]
    token_file.write_text("secret")
    token_file.chmod(0o644)
    [check] = doctor.check_token()
    assert (check.state, check.fix) == (CheckState.FAILED, f"chmod 600 {token_file}")
    token_file.chmod(0o600)
    assert [check.state for check in doctor.check_token()] == [CheckState.OK]
    assert "secret" not in str(doctor.check_token())


def test_a_port_that_others_reach_fails_unless_it_requires_a_token() -> None:
    states = {
        (host, requires): doctor._port("job port", f"{host}:1", host, requires_token=requires).state
        for host in ("192.0.2.1", "127.0.0.1")
        for requires in (True, False)
    }
    assert states.pop(("192.0.2.1", False)) is CheckState.FAILED
    assert set(states.values()) == {CheckState.OK}


def test_a_failed_quick_check_raises_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_nodes", lambda **_: [GOOD, LOW])
    doctor.quick_check()
    monkeypatch.setattr(doctor, "_nodes", lambda **_: [GOOD, LOW, BAD])
    with pytest.raises(ClusterError) as raised:
        doctor.quick_check()
    assert str(raised.value) == (
        "node 10.0.0.2: versions: torch 2.10.0 (here 2.11.0); fix it with: pip install x "
        "(all checks: chorale doctor --address auto)"
    )


@pytest.mark.parametrize(
    ("is_alive", "state"), [(False, CheckState.WARNING), (True, CheckState.FAILED)]
)
def test_a_node_that_leaves_during_the_check_is_only_a_warning(
    monkeypatch: pytest.MonkeyPatch, *, is_alive: bool, state: CheckState
) -> None:
    node = {"NodeID": "9a4a11", "NodeManagerAddress": "10.0.0.3", "Resources": {}}

    def lost(_: object) -> None:
        raise ray.exceptions.RayError("The task is not schedulable: the node doesn't exist")

    monkeypatch.setattr(ray, "get", lost)
    monkeypatch.setattr(doctor, "_alive", lambda: [node] if is_alive else [])
    mine = collect_facts([], "", "")
    checks = doctor._node_checks(None, node, mine, folder="", sent_s=0.0, got_s=1.0)
    assert [(one.what, one.state) for one in checks] == [("reachable", state)]
    assert (first_failed(checks) is None) != is_alive


@pytest.mark.parametrize(("checks", "code"), [([GOOD, LOW], 0), ([GOOD, LOW, BAD], 1)])
def test_the_command_prints_each_fault_with_its_fix(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    checks: list[Check],
    code: int,
) -> None:
    monkeypatch.setattr(doctor, "check_cluster", lambda *_, **__: checks)
    assert main(["doctor"]) == code
    output = capsys.readouterr().out
    assert "warning 10.0.0.2, disk: free some space" in output
    assert ("FAILED 10.0.0.2, versions: pip install x" in output) is bool(code)
    assert f"{len(checks)} checks: {'1' if code else 'none'} failed, 1 warning" in output
    assert main(["doctor", "--json"]) == code
    assert [one["state"] for one in json.loads(capsys.readouterr().out)] == [
        check.state.value for check in checks
    ]


def test_a_surplus_argument_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "head"]) == 2
    assert "expected no name, but got head; type: chorale doctor" in capsys.readouterr().err


def test_all_required_libraries_are_imported() -> None:
    modules = doctor._modules()
    assert {"torch", "pytorch_lightning", "ray", "sklearn", "PIL"} <= set(modules)
    assert [name for name in modules if find_spec(name) is None] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "modules",
    [["torch", "torchaudio", "soxr"], pytest.param(None, marks=pytest.mark.heavy)],
    ids=["some", "all"],
)
def test_without_an_address_this_machine_is_checked(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    token_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    modules: list[str] | None,
) -> None:
    """All libraries take ten seconds to import, and are imported by `-m heavy` only."""
    if modules is not None:
        monkeypatch.setattr(doctor, "_modules", lambda: modules)
    assert main(["doctor", "--runs", str(tmp_path / "runs"), "--json"]) == 0
    found = {one["what"]: one for one in json.loads(capsys.readouterr().out)}
    assert {"token", "packages", "memory", "disk", "storage", "imports", "GPU"} <= found.keys()
    assert found["imports"]["state"] == CheckState.OK.value
    assert str(tmp_path) in found["storage"]["said"]
    assert list(tmp_path.iterdir()) == []
