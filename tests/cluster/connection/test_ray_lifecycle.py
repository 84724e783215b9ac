"""SIGTERM while Ray starts: the process cleans up and ends at once, without leftovers."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import ray

from chorale.cluster.connection.ray_lifecycle import interruptible

CONNECT = """
import faulthandler, sys, time
from chorale.cluster.connection.connect import connect
from chorale.search.interrupts import install_handlers

faulthandler.dump_traceback_later(55)
install_handlers()
print("ready", flush=True)
try:
    with connect(num_cpus=1):
        print("connected", flush=True)
        time.sleep(100)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.exit(130)
"""
"""With the handlers of the commands: Python drops an interrupt that is raised in a finaliser or at
the end of an import, and they raise it again."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path for a private Ray's sockets."""
    made = Path(tempfile.mkdtemp(prefix="st-", dir="/tmp"))
    yield made
    shutil.rmtree(made)


@pytest.mark.ray
def test_sigterm_while_ray_starts_ends_it_cleanly(folder: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(folder)}
    process = subprocess.Popen(
        [sys.executable, "-c", CONNECT],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    if process.stdout is None:
        raise RuntimeError("no pipe")
    assert process.stdout.readline() == "ready\n"
    give_up = time.monotonic() + 60
    while not list(folder.glob("ray-*/session_*/logs/gcs_server*")) and time.monotonic() < give_up:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)  # after Ray's first process started, before all have
    output = process.communicate(timeout=60)[0]
    assert (process.returncode, output) == (130, "interrupted\n")
    assert list(folder.iterdir()) == []


@pytest.mark.ray
def test_an_agent_that_has_just_started_does_not_outlive_its_ray(
    folder: Path, tmp_path: Path
) -> None:
    with (tmp_path / "output").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", CONNECT],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(folder)},
        )
    descendants: list[psutil.Process] = []
    give_up = time.monotonic() + 60
    while not any(_is_agent(one) for one in descendants) and time.monotonic() < give_up:
        time.sleep(0.01)
        descendants = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
    printed = (tmp_path / "output").read_text()
    assert (process.returncode, printed) == (130, "ready\ninterrupted\n")
    left = psutil.wait_procs(descendants, timeout=10)[1]
    # a zombie has ended; only its new parent has not collected its exit status
    assert [one for one in left if one.status() != psutil.STATUS_ZOMBIE] == []


def _is_agent(process: psutil.Process) -> bool:
    try:
        return any(word.endswith("agent.py") for word in process.cmdline())
    except psutil.Error:
        return False


def test_the_alarm_that_rays_core_sets_on_a_signal_is_cancelled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def core(*_: object) -> None:
        signal.alarm(3)  # as its SIGTERM handler does, before it calls the previous handler
        raise KeyboardInterrupt

    monkeypatch.setattr(ray._raylet, "CoreWorker", core)
    before_s = signal.getitimer(signal.ITIMER_REAL)[0]  # pytest-timeout's, or 0
    with pytest.raises(KeyboardInterrupt), interruptible():
        ray._raylet.CoreWorker()
    after_s = signal.getitimer(signal.ITIMER_REAL)[0]
    assert after_s == pytest.approx(before_s, abs=2)
