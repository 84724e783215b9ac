"""`chorale serve` on one machine: start, overload, shutdown, and error messages."""

import asyncio
import json
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType

import httpx2
import pytest

from chorale.search.cli import main

Serving = Callable[..., AbstractContextManager[tuple[int, "subprocess.Popen[str]"]]]


def test_overload_gets_only_200_or_503_and_ctrl_c_ends_the_server_with_one_line(
    served_bundle: Path,
    make_tone: Callable[..., bytes],
    serving: Serving,
    load_benchmark: Callable[[str], ModuleType],
) -> None:
    load = load_benchmark("load_serve")
    clips = [make_tone(hz=hz) for hz in (200, 300, 500)]
    with serving(served_bundle, "--queue", "4", end=signal.SIGINT) as (port, _):
        assert asyncio.run(load.Client(port).post(clips[0])) == 200
        found = asyncio.run(load.arrivals(port, clips, rate=240, seconds=1.5, seed=0))
        assert set(found.statuses) <= {200, 503}
        assert found.statuses[200] > 0
        assert len(found.rows) == 360
        assert asyncio.run(load.Client(port).post(clips[0])) == 200, "it recovers"


def test_a_long_body_without_a_length_is_refused_with_constant_memory_and_sigterm_ends_the_server(
    served_bundle: Path,
    make_tone: Callable[..., bytes],
    serving: Serving,
    load_benchmark: Callable[[str], ModuleType],
) -> None:
    load = load_benchmark("load_serve")
    with serving(served_bundle, "--body-mb", "5", end=signal.SIGTERM) as (port, process):
        answer = httpx2.post(f"http://127.0.0.1:{port}/predict", content=make_tone(), timeout=60)
        assert answer.status_code == 200
        server = load.Server(port, process)
        first = asyncio.run(load.cutoff(server, mb=100))  # loads what stays loaded
        cut = asyncio.run(load.cutoff(server, mb=100))
    assert first.status == cut.status == 413
    assert cut.peak_mb - cut.before_mb < 40


def test_a_bundle_of_a_later_version_is_refused_in_one_line(
    served_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    later = tmp_path / "later"
    shutil.copytree(served_bundle, later)
    manifest = json.loads((later / "bundle.json").read_text())
    (later / "bundle.json").write_text(json.dumps(manifest | {"version": 99}))
    assert main(["serve", str(later), "--port", "0"]) == 1
    error = capsys.readouterr().err
    assert "version=99, but this Chorale reads 1" in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        ([], "BUNDLE is missing; type: chorale serve BUNDLE", 2),
        (["nowhere"], "nowhere", 1),
        (["BUNDLE", "--port", "65536"], "--port should be a whole number", 2),
        (["BUNDLE", "--host", "0.0.0.0"], "no token is set", 1),
        (["BUNDLE", "--body-mb", "0"], "--body-mb should be a number above 0, but got '0'", 2),
        (
            ["BUNDLE", "--queue", "1.5"],
            "--queue should be a whole number of 1 or more, but got '1.5'",
            2,
        ),
        (["BUNDLE", "--replicas", "2"], "give it with --address", 2),
    ],
)
def test_a_wrong_command_line_is_refused_in_one_line(
    served_bundle: Path,
    words: list[str],
    message: str,
    code: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [str(served_bundle) if word == "BUNDLE" else word for word in words]
    assert main(["serve", *given]) == code
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_a_port_in_use_is_refused_in_one_line(
    served_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["serve", str(served_bundle), "--port", port]) == 1
    assert f"port {port} is taken; choose another with --port" in capsys.readouterr().err
