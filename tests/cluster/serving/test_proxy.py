"""What Ray Serve's proxies pass on of a body, without Ray: an app, and a client that goes on."""

import asyncio
from typing import Any

import pytest

from chorale.cluster.serving.proxy import BODY_BYTES, BoundBodies, environment_of, middlewares

LIMIT = 1000


def passed_on(sizes: list[int]) -> list[int]:
    """How much of each chunk an app sees that reads to the end."""
    chunks = [
        {"type": "http.request", "body": bytes(n), "more_body": i + 1 < len(sizes)}
        for i, n in enumerate(sizes)
    ]
    seen: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            seen.append(len(message["body"]))
            if not message["more_body"]:
                return

    async def receive() -> Any:
        return chunks.pop(0)

    async def send(message: Any) -> None:
        raise AssertionError(message)

    asyncio.run(BoundBodies(app, body_bytes=LIMIT)({"type": "http"}, receive, send))
    assert not chunks, "the client has been read to its end"
    return seen


@pytest.mark.parametrize("sizes", [[0], [1000], [400, 600], [600, 300, 100, 0]])
def test_a_body_within_the_limit_is_passed_on_as_it_is(sizes: list[int]) -> None:
    assert passed_on(sizes) == sizes


def test_of_a_longer_body_no_more_is_passed_on_than_shows_that_it_is_too_long() -> None:
    assert passed_on([600, 600, *[600] * 100, 5]) == [600, 600, 0]
    assert passed_on([1001, 600]) == [1001, 0]


def test_a_client_that_goes_away_is_told_of() -> None:
    said: list[str] = []
    sent = [
        {"type": "http.request", "body": bytes(2 * LIMIT), "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        said.extend([(await receive())["type"], (await receive())["type"]])

    async def receive() -> Any:
        return sent.pop(0)

    async def send(message: Any) -> None:
        raise AssertionError(message)

    asyncio.run(BoundBodies(app, body_bytes=LIMIT)({"type": "http"}, receive, send))
    assert said == ["http.request", "http.disconnect"]


def test_a_proxy_finds_its_bound_in_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment_of(LIMIT).items():
        monkeypatch.setenv(name, value)
    [found] = middlewares()
    assert (found.cls, found.kwargs) == (BoundBodies, {"body_bytes": LIMIT})
    assert environment_of(LIMIT)[BODY_BYTES] == "1000"
