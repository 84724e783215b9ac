"""`connect`: errors without Ray, processes and signal handling with it."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from chorale.cluster.base import ClusterError, Resources
from chorale.cluster.connection import connect, nodes
from chorale.cluster.connection.addresses import LOCAL_ADDRESS


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ray://head:10001", "chorale submit SWEEP.yaml --address http://head:8265"),
        ("127.0.0.1:1", "no Ray cluster answers at address='127.0.0.1:1'; start one with"),
        ("no.such.host.invalid:6379", "no Ray cluster answers"),
    ],
)
def test_connect_to_an_address_without_a_cluster_raises_with_a_suggested_command(
    address: str, message: str
) -> None:
    with pytest.raises(ClusterError, match=message), connect.connect(address):
        pass


def test_a_temporary_folder_whose_path_is_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 60)
    with pytest.raises(ClusterError, match="at most 30 characters"), connect.connect(temp_dir=long):
        pass


def _code_folders() -> list[str]:
    """The folder that the calling process imports `chorale.cluster` from."""
    from chorale.cluster import environment

    return [str(Path(environment.__file__).parent)]


@pytest.mark.ray
def test_processes_of_a_private_ray_have_one_thread_a_token_the_import_path_and_our_niceness(
    private_ray: None,
) -> None:
    import ray

    folder = str(Path(connect.__file__).parents[1])
    names = ("OMP_NUM_THREADS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN")
    look = ray.remote(lambda: [os.environ[name] for name in names] + _code_folders() + [os.nice(0)])
    n_threads, mode, token, code, niceness = ray.get(look.remote())
    assert (n_threads, mode, len(token)) == ("1", "token", 64)
    assert (code, niceness) == (folder, os.nice(0))
    assert os.environ.get("RAY_AUTH_TOKEN") != token
    assert nodes.cluster_resources() == Resources(2, 0)


@pytest.mark.ray
def test_a_connected_process_cannot_connect_again(private_ray: None) -> None:
    with pytest.raises(ClusterError, match="connected to Ray already"), connect.connect():
        pass


def _leave_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps this process's private Ray, if it has one, its token and its agents."""
    monkeypatch.setattr("ray.shutdown", lambda: None)
    monkeypatch.setattr(connect, "shut_down_ray", lambda: None)
    monkeypatch.setattr("chorale.cluster.connection.tokens.reload", lambda: None)


def test_a_failed_connection_removes_its_folder_and_variables(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    used: list[Path] = []

    def init(**options: Any) -> None:
        used.append(Path(options["_temp_dir"]))
        assert used[0].exists()
        assert os.environ["OMP_NUM_THREADS"] == "1"
        raise Exception("no memory left\nand more")

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / ("x" * 60)))
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", init)
    _leave_connected(monkeypatch)
    with pytest.raises(ClusterError, match=r"\(no memory left\); run without"), connect.connect():
        pass
    assert not used[0].exists()
    assert "OMP_NUM_THREADS" not in os.environ


def test_a_private_ray_that_timed_out_during_startup_is_started_once_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[str] = []

    def init(**options: Any) -> None:
        tried.append(options["address"])
        raise Exception("The current node timed out during startup. This could happen.")

    monkeypatch.setattr("ray.init", init)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    _leave_connected(monkeypatch)
    with pytest.raises(ClusterError, match="timed out during startup"), connect.connect():
        pass
    assert tried == [LOCAL_ADDRESS] * 2


PROGRAM = """
import json, os, signal, time
import psutil
from chorale.cluster.connection.connect import connect
from chorale.cluster.connection.nodes import death_reasons, node_resources

found = {"handled": 0}
def handle(*_):
    found["handled"] += 1
signal.signal(signal.SIGTERM, handle)
with connect(num_cpus=1):
    os.kill(os.getpid(), signal.SIGTERM)
    children = psutil.Process().children(recursive=True)
    found["commands"] = [" ".join(process.cmdline()) for process in children]
    found["alive"] = [len(node_resources()), death_reasons()]
    for process in children:
        if "DashboardAgent" in " ".join(process.cmdline()):
            process.kill()
    while node_resources():
        time.sleep(0.1)
    found["dead"] = [len(node_resources()), death_reasons()]
os.kill(os.getpid(), signal.SIGTERM)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def own_process() -> dict[str, Any]:
    """What a process saw that started a private Ray; its only children are Ray's."""
    words = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.ray
def test_sigterm_handlers_stay_in_place_while_connected_and_afterwards(
    own_process: dict[str, Any],
) -> None:
    assert own_process["handled"] == 2


@pytest.mark.ray
def test_a_private_ray_starts_only_what_trials_need(own_process: dict[str, Any]) -> None:
    commands = own_process["commands"]
    assert any("raylet" in command for command in commands)
    for script in ("dashboard/dashboard.py", "log_monitor.py", "autoscaler/_private/monitor.py"):
        assert not [command for command in commands if script in command]


@pytest.mark.ray
def test_a_node_whose_agent_ended_is_dead_with_a_reason(own_process: dict[str, Any]) -> None:
    assert own_process["alive"] == [1, ""]
    assert own_process["dead"] == [0, "dashboard_agent failed and raylet fate-shares with it"]
