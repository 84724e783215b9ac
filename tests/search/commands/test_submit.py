"""Jobs through the real job API of a Ray head that these tests start on loopback."""

import contextlib
import json
import os
import secrets
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from chorale.cluster.jobs.jobs import RayJobs
from chorale.search.cli import main

pytestmark = [pytest.mark.ray, pytest.mark.heavy, pytest.mark.slow, pytest.mark.timeout(1200)]

PASSWORD = f"planted-{secrets.token_hex(8)}"
LONG = ["--search.pruner", "none", "--budget.trials", "6"]
ALONE = ["--cluster.address", "none"]
PATIENCE_S = 240.0
N_ATTEMPTS = 3


@dataclass(frozen=True)
class Head:
    """The address of its job API, its token, and its folder of logs."""

    url: str
    token: str
    folder: Path


def _free_port() -> int:
    """A free port outside Ray's range for workers (10002 to 19999)."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = int(server.getsockname()[1])
        if port > 20_000:
            return port


def _until(true: Callable[[], bool], what: str) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > ends:
            raise TimeoutError(what)
        time.sleep(0.2)


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    for _ in range(N_ATTEMPTS):
        folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # sockets need a short path
        port, token = _free_port(), secrets.token_hex(32)
        process = _start(folder, port, token)
        try:
            if _started(process, folder):
                yield Head(f"http://127.0.0.1:{port}", token, folder)
                return
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()  # its children end with it
            process.wait()
            output = _log(folder).read_text()
            shutil.rmtree(folder, ignore_errors=True)
    pytest.fail(output)


def _start(folder: Path, port: int, token: str) -> "subprocess.Popen[bytes]":
    args = f"""start --head --block --port 0 --num-cpus 2 --num-gpus 0 --temp-dir {folder}
        --dashboard-host 127.0.0.1 --dashboard-port {port} --dashboard-agent-listen-port 0
        --ray-client-server-port {_free_port()} --object-store-memory {80 * 2**20}"""
    ours = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": token,
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Ray's switch for: stay on loopback
        "RAY_USAGE_STATS_ENABLED": "0",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "PGPASSWORD": PASSWORD,
    }
    inherited = {k: v for k, v in os.environ.items() if k not in ("RAY_ADDRESS", "PYTHONPATH")}
    with _log(folder).open("w") as out:
        return subprocess.Popen(
            [str(Path(sys.executable).parent / "ray"), *args.split()],
            env=inherited | ours,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _started(process: "subprocess.Popen[bytes]", folder: Path) -> bool:
    """Whether it started: a busy machine may exceed Ray's time limits for its processes."""
    _until(
        lambda: process.poll() is not None or "Ray runtime started" in _log(folder).read_text(),
        "the head does not answer",
    )
    return process.poll() is None


def _log(folder: Path) -> Path:
    return folder / "start.log"


@pytest.fixture
def known(head: Head, monkeypatch: pytest.MonkeyPatch) -> Head:
    """The head, with its token in the environment."""
    monkeypatch.setenv("RAY_AUTH_TOKEN", head.token)
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", head.url)
    return head


def test_a_request_without_the_token_is_refused(
    head: Head, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    order = {"entrypoint": f"touch {tmp_path}/stranger"}
    for headers in ({}, {"Authorization": f"Bearer {secrets.token_hex(32)}"}):
        answer = requests.post(f"{head.url}/api/jobs/", json=order, headers=headers, timeout=20)
        assert answer.status_code in (401, 403)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    assert main(["jobs", "list", "--address", head.url]) == 1
    assert "requires a token, and there is none here" in capsys.readouterr().err
    monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong")
    assert main(["jobs", "list", "--address", head.url]) == 1
    assert "refuses the token on this machine" in capsys.readouterr().err
    assert not (tmp_path / "stranger").exists()


def test_a_jobs_exit_code_is_its_drivers(known: Head, tmp_path: Path) -> None:
    jobs = RayJobs(known.url)
    output: list[str] = []
    code = "import os; print('cwd', os.getcwd()); raise SystemExit(7)"
    name = jobs.submit("seven", ["python", "-c", code], folder=tmp_path)
    job = jobs.follow(name, output.append)
    assert (job.name, job.state, job.exit_code, job.command_exit_code) == ("seven", "failed", 7, 7)
    assert "cwd /" in "".join(output)
    assert jobs.submit("seven", ["true"], folder=tmp_path) == "seven~2"
    assert jobs.follow("seven~2", output.append).command_exit_code == 0


def test_a_stopped_sweep_is_resumed_when_it_is_submitted_again(
    known: Head, tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["submit", *tiny, *LONG, *ALONE]) == 0
    output = capsys.readouterr().out
    assert "submitted  job tiny to" in output
    _until(lambda: len(_finished(tmp_path)) >= 1, "no trial ended")

    assert main(["submit", *tiny, *LONG]) == 1
    assert "study 'tiny' is already run by job 'tiny'" in capsys.readouterr().err

    assert main(["jobs", "stop", "tiny"]) == 0
    assert "job tiny: stopped" in capsys.readouterr().out
    kept = _finished(tmp_path)
    assert 1 <= len(kept) < 6
    assert main(["jobs", "logs", "tiny"]) == 0
    assert "Interrupted; every finished trial is kept" in capsys.readouterr().out

    # Without an address the sweep joins the cluster of its own job.
    assert main(["submit", *tiny, *LONG, "--follow"]) == 0
    output = capsys.readouterr().out
    assert "job tiny~2 succeeded" in output
    assert "6 trials: 6 done" in output
    after = _finished(tmp_path)
    assert {key: after[key] for key in kept} == kept
    found = json.loads((tmp_path / "runs" / "tiny" / "report.json").read_text())
    assert found["trials"]["complete"] == 6

    assert main(["jobs", "list", "--json"]) == 0
    listed = {one["name"]: one["state"] for one in json.loads(capsys.readouterr().out)}
    assert (listed["tiny"], listed["tiny~2"]) == ("stopped", "succeeded")

    # No file that is left behind contains a secret.
    for one in (*RayJobs(known.url).all_jobs(),):
        assert known.token not in str(one)
        assert PASSWORD not in str(one)
    left = [file for root in (known.folder, tmp_path) for file in root.rglob("*")]
    files = [file for file in left if file.is_file()]
    for kind in ("job-driver-tiny.log", "raylet.out", "chorale.db", "report.json"):
        assert [file for file in files if file.name == kind], kind
    assert [file for file in files if file.name.startswith("events.out.tfevents")]
    for secret in (known.token.encode(), PASSWORD.encode()):
        assert [str(file) for file in files if secret in file.read_bytes()] == []


def test_the_doctor_runs_inside_the_cluster(
    known: Head, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--address", known.url]) == 0
    output = capsys.readouterr().out
    assert output.count("requires a token") == 2
    assert "0 failed" not in output
    assert "none failed" in output


def _finished(folder: Path) -> dict[str, str]:
    path = folder / "runs" / "chorale.db"
    if not path.exists():
        return {}
    with sqlite3.connect(path) as db:
        try:
            rows = db.execute("select key, facts from chorale_trials where stage = 'search'")
            return dict(rows.fetchall())
        except sqlite3.OperationalError:  # the tables do not exist yet
            return {}
