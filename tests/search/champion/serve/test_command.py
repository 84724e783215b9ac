"""`chorale serve` on one machine: start, shutdown, and error messages."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2
import psutil
import pytest

from chorale.search.cli import main


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_answers_once_it_prints_its_address_and_ends_with_one_line(
    served_bundle: Path, make_tone: Callable[..., bytes], number: signal.Signals
) -> None:
    words = [sys.executable, "-m", "chorale.search", "serve", str(served_bundle), "--port", "0"]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://\S+", process.stdout.readline())
            assert found, process.communicate()
            answer = httpx2.post(f"{found[0]}predict", content=make_tone(), timeout=60)
            assert answer.status_code == 200
            below = psutil.Process(process.pid).children(recursive=True)
        finally:
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "the server has ended\n", "")
    assert below, "decoders are separate processes"
    assert not psutil.wait_procs(below, timeout=30)[1], "they end, too"


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
    ("words", "message"),
    [
        ([], "expected one BUNDLE"),
        (["nowhere"], "nowhere"),
        (["BUNDLE", "--port", "65536"], "--port should be a whole number"),
        (["BUNDLE", "--host", "0.0.0.0"], "no token is set"),
        (["BUNDLE", "--body-mb", "0"], "--body-mb expected a number above 0, but got '0'"),
        (["BUNDLE", "--queue", "1.5"], "--queue expected a number above 0, but got '1.5'"),
        (["BUNDLE", "--replicas", "2"], "give it with --address"),
    ],
)
def test_a_wrong_command_line_is_refused_in_one_line(
    served_bundle: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(served_bundle) if word == "BUNDLE" else word for word in words]
    assert main(["serve", *given]) == 1
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
