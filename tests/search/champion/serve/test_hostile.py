"""Hostile and broken uploads: decoder hangs and crashes, ten hours of audio."""

import asyncio
import os
import signal
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
from chorale.search.champion.serve import app, decoder
from chorale.search.champion.serve.app import create_app
from chorale.search.champion.serve.decoder import DecoderPool
from chorale.search.champion.serve.limits import RefusedRequest, RequestLimits
from chorale.search.cli import main

Tone = Callable[..., bytes]
N_UPLOADS = 300
TEN_HOURS_S = 36_000


@pytest.fixture(scope="module")
def ten_hours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten hours of silence at 1 kHz: small as FLAC, and 144 MB as samples."""
    path = tmp_path_factory.mktemp("long") / "ten-hours.flac"
    with soundfile.SoundFile(path, "w", 1000, 1, format="FLAC") as sound:
        for _ in range(TEN_HOURS_S // 1000):
            sound.write(np.zeros(1_000_000, np.int16))
    return path


def test_mutated_uploads_get_an_expected_status_and_the_app_keeps_running(
    served: Predictor,
    load_benchmark: Callable[[str], ModuleType],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(app, "LINGER_S", 0.02)  # how long a refused body is received
    fuzz = load_benchmark("fuzz_serve")
    limits = RequestLimits(body_mb=1, duration_s=60)
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
    """This process's children by `spawn`; other tests may have left idle ones."""
    return {one for one in psutil.Process().children() if "spawn_main" in _line(one)}


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def test_chorale_predict_refuses_ten_hours_in_one_line(
    served_bundle: Path, ten_hours: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(ten_hours), "--bundle", str(served_bundle)]) == 1
    error = capsys.readouterr().err
    assert "too long (36000 s; at most 10800 s" in error
    assert "Traceback" not in error


def test_a_decoder_that_hangs_is_killed_and_the_next_recording_is_decoded(
    tmp_path: Path, make_tone: Tone
) -> None:
    good = tmp_path / "good.wav"
    good.write_bytes(make_tone())

    async def decode() -> None:
        others = _spawned()
        made = DecoderPool(RequestLimits(decode_s=1), n_processes=1)
        await made.start()
        [child] = _spawned() - others
        try:
            os.kill(child.pid, signal.SIGSTOP)  # it hangs
            with pytest.raises(RefusedRequest, match="within 1 s") as refused:
                await made.decode(str(good))
            assert (refused.value.status, refused.value.reason) == (422, "too slow to decode")
            assert not child.is_running()
            waveform, rate = await made.decode(str(good))
            assert (len(waveform), rate) == (4800, 8000)
        finally:
            made.close()

    asyncio.run(decode())


def test_a_decoder_that_crashes_is_replaced(tmp_path: Path, make_tone: Tone) -> None:
    good = tmp_path / "good.wav"
    good.write_bytes(make_tone())

    async def decode() -> None:
        others = _spawned()
        made = DecoderPool(RequestLimits(decode_s=30), n_processes=1)
        await made.start()
        [child] = _spawned() - others
        try:
            os.kill(child.pid, signal.SIGSTOP)
            request = asyncio.create_task(made.decode(str(good)))
            await asyncio.sleep(0.2)
            os.kill(child.pid, signal.SIGKILL)
            with pytest.raises(RefusedRequest, match="crashed") as refused:
                await request
            assert refused.value.status == 415
            assert len((await made.decode(str(good)))[0]) == 4800
        finally:
            made.close()

    asyncio.run(decode())


def test_a_decoder_that_cannot_start_gives_503(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make_tone: Tone
) -> None:
    good = tmp_path / "good.wav"
    good.write_bytes(make_tone())
    monkeypatch.setattr(decoder, "decode_requests", _ends_at_once)

    async def decode() -> None:
        made = DecoderPool(RequestLimits(), n_processes=1)
        try:
            with pytest.raises(RefusedRequest, match="does not start") as refused:
                await made.decode(str(good))
            assert refused.value.status == 503
        finally:
            made.close()

    asyncio.run(decode())


_ends_at_once = os.close
"""A function that a new process can import, and that fails there."""


def test_a_body_that_arrives_too_slowly_is_refused(served: Predictor) -> None:
    async def post() -> httpx2.Response:
        async def slow() -> AsyncIterator[bytes]:
            yield b"RIFF"
            await asyncio.sleep(60)

        made = create_app(served, limits=RequestLimits(upload_s=0.2))
        transport = httpx2.ASGITransport(made)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.post("/predict", content=slow())

    answer = asyncio.run(post())
    assert (answer.status_code, answer.json()["error"]) == (408, "too slow")
    assert answer.headers["connection"] == "close"
