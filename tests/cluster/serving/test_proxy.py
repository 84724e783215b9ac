"""The body limit of Ray Serve's proxies, tested without Ray: an app, and a client that sends on."""

import asyncio
from typing import Any

import pytest

from chorale.cluster.serving.proxy import (
    BODY_LIMIT_VARIABLE,
    LimitBody,
    body_limit_variables,
    proxy_middlewares,
)

LIMIT = 1000


def passed_on(sizes: list[int]) -> list[int]:
    """The size of each chunk that an app receives that reads to the end."""
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

    asyncio.run(LimitBody(app, body_bytes=LIMIT)({"type": "http"}, receive, send))
    assert not chunks, "not all of the client's chunks were read"
    return seen


@pytest.mark.parametrize("sizes", [[0], [1000], [400, 600], [600, 300, 100, 0]])
def test_a_body_within_the_limit_is_passed_on_unchanged(sizes: list[int]) -> None:
    assert passed_on(sizes) == sizes


def test_a_longer_body_is_cut_once_it_exceeds_the_limit() -> None:
    assert passed_on([600, 600, *[600] * 100, 5]) == [600, 600, 0]
    assert passed_on([1001, 600]) == [1001, 0]


def test_a_disconnect_of_the_client_reaches_the_app() -> None:
    received: list[str] = []
    sent = [
        {"type": "http.request", "body": bytes(2 * LIMIT), "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        received.extend([(await receive())["type"], (await receive())["type"]])

    async def receive() -> Any:
        return sent.pop(0)

    async def send(message: Any) -> None:
        raise AssertionError(message)

    asyncio.run(LimitBody(app, body_bytes=LIMIT)({"type": "http"}, receive, send))
    assert received == ["http.request", "http.disconnect"]


def test_a_proxy_reads_its_limit_from_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in body_limit_variables(LIMIT).items():
        monkeypatch.setenv(name, value)
    [found] = proxy_middlewares()
    assert (found.cls, found.kwargs) == (LimitBody, {"body_bytes": LIMIT})
    assert body_limit_variables(LIMIT)[BODY_LIMIT_VARIABLE] == "1000"
