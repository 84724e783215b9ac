"""The app under Ray Serve, as `chorale serve --address` runs it, with replicas killed."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import psutil
import pytest

from chorale.search.cli import main

pytestmark = [pytest.mark.ray, pytest.mark.heavy, pytest.mark.slow, pytest.mark.timeout(300)]

REPLICA = "ray::ServeReplica"
N_REQUESTS = 60


@contextmanager
def serving(bundle: Path, *words: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The URL of replicas on a private Ray, and their driver; it must exit with 0 at SIGTERM."""
    pytest.importorskip("ray.serve", reason="Ray Serve is not installed")
    command = [
        sys.executable, "-m", "chorale.search", "serve", str(bundle), "--address", "local",
        "--port", "0", *words,
    ]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline(), process.stdout.readline()]
        found = re.search(r"http://\S+", lines[1])
        assert found, (lines, process.communicate())
        yield found[0], process
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, "")
        assert "the replicas have stopped" in out
    finally:
        process.kill()
        process.wait()


def replicas_of(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    below = psutil.Process(process.pid).children(recursive=True)
    return [one for one in below if one.is_running() and REPLICA in " ".join(one.cmdline())]


def test_with_one_retry_no_request_is_lost_when_a_replica_is_killed(
    served_bundle: Path, make_tone: Callable[..., bytes]
) -> None:
    async def post(client: httpx2.AsyncClient, i: int) -> list[int]:
        seen = []
        for _ in range(2):
            try:
                answer = await client.post("predict", content=make_tone(hz=200 + i))
                seen.append(answer.status_code)
            except httpx2.TransportError:
                seen.append(0)
            if seen[-1] == 200:
                break
        return seen

    async def all_of_them(url: str, process: "subprocess.Popen[str]") -> list[list[int]]:
        async with httpx2.AsyncClient(base_url=url, timeout=120) as client:
            tasks = []
            for i in range(N_REQUESTS):
                tasks.append(asyncio.create_task(post(client, i)))
                if i == N_REQUESTS // 3:
                    os.kill(killed.pid, signal.SIGKILL)
                await asyncio.sleep(0.05)
            return await asyncio.gather(*tasks)

    with serving(served_bundle, "--replicas", "2") as (url, process):
        first = replicas_of(process)
        assert len(first) == 2
        killed = first[0]
        seen = asyncio.run(all_of_them(url, process))
        assert [one[-1] for one in seen] == [200] * N_REQUESTS
        assert killed.pid not in {one.pid for one in replicas_of(process)}
        tree = psutil.Process(process.pid).children(recursive=True)
    assert not psutil.wait_procs(tree, timeout=60)[1], "some process still runs after the end"


def test_limits_hold_behind_the_proxy(served_bundle: Path, make_tone: Callable[..., bytes]) -> None:
    async def crowd(url: str) -> list[httpx2.Response]:
        async with httpx2.AsyncClient(base_url=url, timeout=120) as client:
            long = make_tone(9, rate=48_000)
            return await asyncio.gather(*(client.post("predict", content=long) for _ in range(40)))

    words = ("--replicas", "1", "--body-mb", "1", "--queue", "2", "--duration-s", "10")
    with serving(served_bundle, *words) as (url, _), httpx2.Client(base_url=url, timeout=60) as c:
        assert c.get("healthz").json()["status"] == "ok"
        assert "What is this recording?" in c.get("").text
        tone = make_tone()
        assert c.post("predict", content=tone).status_code == 200
        too_large = c.post("predict", content=endless())
        assert (too_large.status_code, too_large.json()["error"]) == (413, "too large")
        too_long = c.post("predict", content=make_tone(11))
        assert (too_long.status_code, too_long.json()["error"]) == (413, "too long")
        answers = asyncio.run(crowd(url))
        assert {one.status_code for one in answers} == {200, 503}
        refused = next(one for one in answers if one.status_code == 503)
        assert json.loads(refused.text)["error"] == "busy"
        assert c.post("predict", content=tone).status_code == 200


def endless() -> Iterator[bytes]:
    for _ in range(200):
        yield bytes(100_000)


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        (["--address", "http://127.0.0.1:8265"], "on one of its machines type --address auto", 1),
        (["--address", "127.0.0.1:9"], "or use a private one with: --address local", 1),
        (["--address", "local", "--replicas", "99999"], "each replica takes a CPU", 1),
        (["--replicas", "2"], "give it with --address", 2),
    ],
)
def test_a_wrong_command_line_is_refused_in_one_line(
    served_bundle: Path,
    words: list[str],
    message: str,
    code: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["serve", str(served_bundle), "--port", "0", *words]) == code
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
