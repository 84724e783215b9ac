"""Middleware for Ray Serve's HTTP proxies that limits request bodies.

A proxy reads a body to its end even after the app has refused it. It imports this module by the
name in its environment (`body_limit_variables`).
Source: Ray Serve 2.60, RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH in ray/serve/_private/http_util.py
"""

import os
from typing import Any

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PROXY_CALLBACK_VARIABLE = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
BODY_LIMIT_VARIABLE = "CHORALE_BODY_BYTES"


def body_limit_variables(body_bytes: int) -> dict[str, str]:
    """Environment variables that make a proxy limit request bodies."""
    return {
        PROXY_CALLBACK_VARIABLE: f"{__name__}.proxy_middlewares",
        BODY_LIMIT_VARIABLE: str(body_bytes),
    }


def proxy_middlewares() -> list[Any]:
    """The middlewares that a proxy wraps around its app."""
    return [Middleware(LimitBody, body_bytes=int(os.environ[BODY_LIMIT_VARIABLE]))]


class LimitBody:
    """ASGI middleware that drops the rest of a body once it exceeds the limit.

    The app gets just enough to see that the body is too long, and refuses it; the client, which
    still sends, can read the answer.
    """

    def __init__(self, app: ASGIApp, *, body_bytes: int) -> None:
        self._app = app
        self._body_bytes = body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        n_bytes = 0

        async def receive_limited() -> Message:
            nonlocal n_bytes
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return message
                was_over = n_bytes > self._body_bytes
                n_bytes += len(message.get("body", b""))
                if not was_over or not message.get("more_body", False):
                    return {**message, "body": b""} if was_over else message

        await self._app(scope, receive_limited, send)
