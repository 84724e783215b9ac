"""HTTP API: predictions, refusals, limits, metrics and the page's files."""

import asyncio
import io
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient

from chorale.datasets.audio import AudioError
from chorale.search.bundle.predictor import Predictor
from chorale.search.champion.serve import app
from chorale.search.champion.serve.app import create_app
from chorale.search.champion.serve.batcher import MicroBatcher
from chorale.search.champion.serve.limits import RequestLimits, refusal_of_audio
from tests.benchmarks.bench_decoders import ENCODINGS, chirp, encode

Tone = Callable[..., bytes]


@pytest.fixture(scope="module")
def client(served: Predictor) -> Iterator[TestClient]:
    limits = RequestLimits(body_mb=1, duration_s=10)
    with (
        pytest.MonkeyPatch.context() as patch,
        TestClient(create_app(served, limits=limits)) as client,
    ):
        patch.setattr(app, "LINGER_S", 0.02)  # how long a refused body is received
        yield client


def test_the_answer_equals_the_predictor_s(
    client: TestClient, served: Predictor, corpus: Path
) -> None:
    path = next((corpus / "high").glob("*.wav"))
    answer = client.post("/predict", content=path.read_bytes()).json()
    expected = served.predict_file(path)
    assert answer["label"] == served.labels[expected.best]
    assert list(answer["proba"].values()) == pytest.approx(list(expected.proba), abs=1e-5)
    assert answer["bundle"] == served.bundle.digest


def test_a_recording_whose_header_has_no_length_is_answered_whole(
    client: TestClient, make_tone: Tone
) -> None:
    wav = make_tone(3.2)
    expected = client.post("/predict", content=wav).json()
    assert expected["duration_s"] == pytest.approx(3.2)
    assert client.post("/predict", content=wav[:40] + bytes(4) + wav[44:]).json() == expected
    flac = _flac(3.2)
    expected = client.post("/predict", content=flac).json()
    assert client.post("/predict", content=_without_count(flac)).json() == expected


def test_the_limit_holds_for_a_recording_whose_header_has_no_length(client: TestClient) -> None:
    answer = client.post("/predict", content=_without_count(_flac(10.1)))
    assert (answer.status_code, answer.json()["error"]) == (413, "too long")
    assert "more than 10 s; at most 10 s at 8000 Hz" in answer.json()["detail"]


def _flac(seconds: float) -> bytes:
    file = io.BytesIO()
    wave = 0.3 * np.sin(2 * np.pi * 300 * np.arange(int(seconds * 8000)) / 8000)
    soundfile.write(file, wave, 8000, format="FLAC")
    return file.getvalue()


def _without_count(flac: bytes) -> bytes:
    return flac[:21] + bytes([flac[21] & 0xF0, 0, 0, 0, 0]) + flac[26:]


def test_a_form_gives_the_same_answer_as_a_body(client: TestClient, make_tone: Tone) -> None:
    audio = make_tone()
    by_body = client.post("/predict", content=audio).json()
    form: Any = {"other": (None, b"x"), "file": ("a.wav", audio, "audio/wav")}
    assert client.post("/predict", files=form).json() == by_body


@pytest.mark.parametrize(("rate", "channels"), [(44100, 1), (8000, 2), (22050, 2)])
def test_another_sample_rate_and_stereo_are_accepted(
    client: TestClient, make_tone: Tone, rate: int, channels: int
) -> None:
    answer = client.post("/predict", content=make_tone(rate=rate, channels=channels))
    assert answer.status_code == 200
    assert answer.json()["duration_s"] == pytest.approx(0.6)


def test_timeline_and_peaks_cover_the_recording(client: TestClient, make_tone: Tone) -> None:
    url = "/predict?timeline=true&segment_s=1&peaks=50"
    answer = client.post(url, content=make_tone(3.2)).json()
    edges = [(one["start_s"], one["end_s"]) for one in answer["timeline"]]
    assert edges == [(0, 1), (1, 2), (2, 3.2)]
    assert len(answer["peaks"]) == 50
    assert max(answer["peaks"]) == 1.0


@pytest.mark.parametrize("name", ["m4a", "webm", "wma"])
def test_uploads_of_containers_are_accepted(client: TestClient, name: str) -> None:
    encoding = ENCODINGS[name]
    source = chirp(1.0, encoding.sample_rate, encoding.n_channels)
    answer = client.post("/predict", content=encode(encoding, source))
    assert answer.status_code == 200
    assert answer.json()["duration_s"] == pytest.approx(1.0, abs=0.06)


def test_a_missing_decoder_does_not_tell_clients_what_to_type() -> None:
    refusal = refusal_of_audio(AudioError("/tmp/x", "no decoder", "type: /opt/python -m pip"))
    assert (refusal.status, refusal.reason) == (415, "no decoder")
    assert "/opt" not in refusal.detail


def _ten_hours() -> bytes:
    """A WAV header that declares ten hours, with few samples after it."""
    n = 10 * 3600 * 8000
    fmt = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8)
    return b"RIFF" + struct.pack("<I", 36 + n) + fmt + b"data" + struct.pack("<I", n) + bytes(900)


def _nan() -> bytes:
    file = io.BytesIO()
    wave = np.full(800, np.nan, np.float32)
    soundfile.write(file, wave, 8000, format="WAV", subtype="FLOAT")
    return file.getvalue()


def _minutes_of_flac() -> bytes:
    """Silence is small in FLAC: a small body of a recording that is too long."""
    file = io.BytesIO()
    soundfile.write(file, np.zeros(1_000_000, np.int16), 1000, format="FLAC")
    return file.getvalue()


@pytest.mark.parametrize(
    ("body", "kind", "status", "error"),
    [
        (b"", "audio/wav", 422, "empty"),
        (b"hello", "audio/wav", 415, "undecodable"),
        (b"{}", "application/json", 415, "not audio"),
        (_nan(), "audio/wav", 422, "not finite"),
        (_minutes_of_flac(), "audio/flac", 413, "too long"),
        (bytes(1_000_001), "audio/wav", 413, "too large"),
        (b"x", "multipart/form-data", 422, "broken form"),
        (b"--b\r\nbroken", "multipart/form-data; boundary=b", 422, "broken form"),
        (b"--b--\r\n", "multipart/form-data; boundary=b", 422, "broken form"),
    ],
)
def test_unusable_uploads_are_refused_with_a_reason(
    client: TestClient, body: bytes, kind: str, status: int, error: str
) -> None:
    answer = client.post("/predict", content=body, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.json()["detail"]


@pytest.mark.parametrize("body", [b"--b\r\nbroken", b"--b--\r\n", b"--b\r\n"])
def test_a_broken_form_that_arrived_whole_is_answered_at_once(
    client: TestClient, body: bytes
) -> None:
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = client.post("/predict", content=body, headers=kind)
    assert answer.json()["error"] == "broken form"
    assert answer.headers.get("connection") != "close"  # nothing more is waited for


def test_a_header_that_declares_more_samples_than_there_are_is_no_server_error(
    client: TestClient,
) -> None:
    assert client.post("/predict", content=_ten_hours()).status_code in (200, 413, 415, 422)


@pytest.mark.parametrize("query", ["top=0", "top=x", "segment_s=nan", "peaks=-1", "timeline=7"])
def test_an_invalid_parameter_is_named(client: TestClient, query: str) -> None:
    answer = client.post(f"/predict?{query}", content=b"x")
    assert answer.status_code == 422
    assert answer.json()["error"] == "bad parameter"
    assert query.split("=")[0] in answer.json()["detail"]


def test_a_body_without_a_length_is_refused_at_the_limit(client: TestClient) -> None:
    taken = []

    def endless() -> Iterator[bytes]:
        for i in range(200):
            taken.append(i)
            yield bytes(100_000)

    answer = client.post("/predict", content=endless(), headers={"Content-Type": "audio/wav"})
    assert answer.status_code == 413
    assert answer.headers["connection"] == "close"


def test_requests_beyond_the_queue_get_503_with_retry_after(
    served: Predictor, make_tone: Tone
) -> None:
    made = create_app(served, limits=RequestLimits(queue=1))
    begun, proceed = threading.Event(), threading.Event()

    async def both() -> tuple[int, Any, int]:
        import httpx2

        transport = httpx2.ASGITransport(made)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:

            async def body() -> Any:
                yield make_tone()
                begun.set()
                await asyncio.to_thread(proceed.wait, 60)

            first = asyncio.create_task(client.post("/predict", content=body()))
            await asyncio.to_thread(begun.wait, 60)
            second = await client.post("/predict", content=make_tone())
            proceed.set()
            return (await first).status_code, second, (await client.get("/healthz")).status_code

    first, second, health = asyncio.run(both())
    assert (first, second.status_code, health) == (200, 503, 200)
    assert second.json()["error"] == "busy"
    assert second.headers["retry-after"] == "1"


def test_a_token_is_required_where_one_is_set(served: Predictor, make_tone: Tone) -> None:
    with TestClient(create_app(served, token="secret")) as client:
        assert client.post("/predict", content=make_tone()).status_code == 401
        assert client.get("/metrics").status_code == 401
        assert client.get("/healthz").status_code == 200
        wrong = {"Authorization": "Bearer other"}
        assert client.post("/predict", content=make_tone(), headers=wrong).status_code == 401
        right = {"Authorization": "Bearer secret"}
        assert client.post("/predict", content=make_tone(), headers=right).status_code == 200


def test_metrics_count_by_status_and_reason(client: TestClient, make_tone: Tone) -> None:
    client.post("/predict", content=make_tone())
    client.post("/predict", content=b"hello")
    text = client.get("/metrics").text
    assert 'chorale_requests_total{reason="",status="200"}' in text
    assert 'chorale_requests_total{reason="undecodable",status="415"}' in text
    assert "chorale_waiting 0.0" in text


def test_openapi_describes_the_body_and_the_refusals(client: TestClient) -> None:
    post = client.get("/openapi.json").json()["paths"]["/predict"]["post"]
    assert "multipart/form-data" in post["requestBody"]["content"]
    assert {"413", "415", "422", "503"} <= set(post["responses"])


def test_the_page_loads_nothing_from_other_hosts(client: TestClient) -> None:
    for path in ("/", "/page.css", "/page.js", "/draw.js", "/record.js"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "//cdn" not in answer.text
        assert "https:" not in answer.text
    assert "default-src 'none'" in client.get("/").headers["content-security-policy"]


def test_a_bad_item_of_a_batch_fails_no_other() -> None:
    def divide(items: Any) -> list[int]:
        return [10 // one for one in items]

    async def submit() -> list[Any]:
        batcher: MicroBatcher[int, int] = MicroBatcher(divide, size=8)
        try:
            found = await asyncio.gather(*map(batcher.submit, (1, 0, 5)), return_exceptions=True)
        finally:
            batcher.close()
        return list(found)

    first, second, third = asyncio.run(submit())
    assert (first, third) == (10, 2)
    assert isinstance(second, ZeroDivisionError)
