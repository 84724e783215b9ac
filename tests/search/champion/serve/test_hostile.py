"""Uploads that mean harm or mistake: what hangs, what is ten hours long, what is no audio."""

import asyncio
import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import ModuleType

import httpx2
import numpy as np
import psutil
import pytest
import soundfile
from fastapi.testclient import TestClient

from chorale.search.bundle.predictor import Predictor
from chorale.search.champion.serve import decoder
from chorale.search.champion.serve.app import create_app
from chorale.search.champion.serve.decoder import Decoder
from chorale.search.champion.serve.limits import Limits, Refused

Tone = Callable[..., bytes]
BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
N_UPLOADS = 300
TEN_HOURS_S = 36_000


def benchmark(name: str) -> ModuleType:
    """A script of `tests/benchmarks`."""
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def ten_hours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten hours of silence at 8 kHz: small as FLAC, and 1.15 GB as samples."""
    path = tmp_path_factory.mktemp("long") / "ten-hours.flac"
    with soundfile.SoundFile(path, "w", 8000, 1, format="FLAC") as sound:
        for _ in range(TEN_HOURS_S // 100):
            sound.write(np.zeros(800_000, np.int16))
    return path


def test_mutated_uploads_get_a_decision_and_the_app_goes_on(served: Predictor) -> None:
    fuzz = benchmark("fuzz_serve")
    limits = Limits(body_mb=1, duration_s=60)
    with TestClient(create_app(served, limits=limits)) as client:
        found = fuzz.fuzz(client, n=N_UPLOADS, seed=0)
    assert found.failures == []
    assert sum(found.statuses.values()) == N_UPLOADS
    assert set(found.statuses) == {200, 413, 415, 422}


def test_ten_hours_are_refused_by_their_header(
    served: Predictor, ten_hours: Path, make_tone: Tone
) -> None:
    others = _spawned()
    with TestClient(create_app(served)) as client:
        client.post("/predict", content=make_tone())
        [child] = _spawned() - others
        before = child.memory_info().rss
        answer = client.post("/predict", content=ten_hours.read_bytes())
        assert (answer.status_code, answer.json()["error"]) == (413, "too long")
        assert "36000 s" in answer.json()["detail"]
        assert child.memory_info().rss - before < 50e6, "it was not decoded"
        assert client.post("/predict", content=make_tone()).status_code == 200


def _spawned() -> set[psutil.Process]:
    """This process's children by `spawn`; other tests may have left some that still wait."""
    return {one for one in psutil.Process().children() if "spawn_main" in _line(one)}


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def test_predict_tells_of_ten_hours_in_one_line(
    served_bundle: Path, ten_hours: Path, tmp_path: Path
) -> None:
    words = [sys.executable, "-m", "chorale.search", "predict", str(ten_hours), "--bundle"]
    done = subprocess.run(
        [*words, str(served_bundle)], capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 1
    assert "too long (36000 s; at most 10800 s" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_decoder_that_hangs_is_ended_and_the_next_recording_is_decoded(
    tmp_path: Path, make_tone: Tone
) -> None:
    good = tmp_path / "good.wav"
    good.write_bytes(make_tone())

    async def decode() -> None:
        others = _spawned()
        made = Decoder(Limits(decode_s=1), n_processes=1)
        await made.start()
        [child] = _spawned() - others
        try:
            os.kill(child.pid, signal.SIGSTOP)  # it neither answers nor ends
            with pytest.raises(Refused, match="within 1 s") as refused:
                await made.decode(str(good))
            assert (refused.value.status, refused.value.reason) == (422, "too slow to decode")
            assert not child.is_running()
            waveform, rate = await made.decode(str(good))
            assert (len(waveform), rate) == (4800, 8000)
        finally:
            made.close()

    asyncio.run(decode())


def test_a_decoder_that_dies_of_a_recording_is_replaced(tmp_path: Path, make_tone: Tone) -> None:
    good = tmp_path / "good.wav"
    good.write_bytes(make_tone())

    async def decode() -> None:
        others = _spawned()
        made = Decoder(Limits(decode_s=30), n_processes=1)
        await made.start()
        [child] = _spawned() - others
        try:
            os.kill(child.pid, signal.SIGSTOP)
            asked = asyncio.create_task(made.decode(str(good)))
            await asyncio.sleep(0.2)
            os.kill(child.pid, signal.SIGKILL)
            with pytest.raises(Refused, match="broke down") as refused:
                await asked
            assert refused.value.status == 415
            assert len((await made.decode(str(good)))[0]) == 4800
        finally:
            made.close()

    asyncio.run(decode())


def test_a_decoder_that_cannot_start_is_not_the_recordings_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make_tone: Tone
) -> None:
    good = tmp_path / "good.wav"
    good.write_bytes(make_tone())
    monkeypatch.setattr(decoder, "work", _ends_at_once)

    async def decode() -> None:
        made = Decoder(Limits(), n_processes=1)
        try:
            with pytest.raises(Refused, match="does not start") as refused:
                await made.decode(str(good))
            assert refused.value.status == 503
        finally:
            made.close()

    asyncio.run(decode())


_ends_at_once = os.close
"""A function that a new process can import, and that fails there."""


def test_a_body_that_arrives_too_slowly_is_cut_off(served: Predictor) -> None:
    async def ask() -> httpx2.Response:
        async def slow() -> AsyncIterator[bytes]:
            yield b"RIFF"
            await asyncio.sleep(60)

        app = create_app(served, limits=Limits(upload_s=0.2))
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.post("/predict", content=slow())

    answer = asyncio.run(ask())
    assert (answer.status_code, answer.json()["error"]) == (408, "too slow")
    assert answer.headers["connection"] == "close"


def test_ten_times_the_load_gets_only_a_decision_and_is_got_over(
    served_bundle: Path, make_tone: Tone
) -> None:
    load = benchmark("load_serve")
    clips = [make_tone(hz=hz) for hz in (200, 300, 500)]
    with load.serving(served_bundle, "--queue", "4") as server:
        found = asyncio.run(
            load.overload(server.port, clips, rate=4, seconds=3, seed=0, times=60, after_s=6)
        )
        assert set(found.under.statuses) <= {200, 503}
        assert found.under.statuses[200] > 0
        assert len(found.under.rows) == 720
        assert asyncio.run(load.Client(server.port).post(clips[0])) == 200


def test_a_long_body_without_a_length_is_cut_off_with_memory_flat(served_bundle: Path) -> None:
    load = benchmark("load_serve")
    with load.serving(served_bundle, "--body-mb", "5") as server:
        first = asyncio.run(load.cutoff(server, mb=200))  # what is loaded for it stays loaded
        cut = asyncio.run(load.cutoff(server, mb=200))
    assert first.status == cut.status == 413
    assert cut.peak_mb - cut.before_mb < 40
