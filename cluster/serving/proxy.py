"""Bounds what Ray Serve's HTTP proxies hold of a body: they read on whatever an app says.

A proxy loads this file by the name that it finds in its environment (`environment_of`).
Source: Ray Serve 2.60, RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH in ray/serve/_private/http_util.py
"""

import os
from typing import Any

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CALLBACK = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
BODY_BYTES = "CHORALE_BODY_BYTES"


def environment_of(body_bytes: int) -> dict[str, str]:
    """The variables that make a proxy bound bodies."""
    return {CALLBACK: f"{__name__}.middlewares", BODY_BYTES: str(body_bytes)}


def middlewares() -> list[Any]:
    """What a proxy puts around its app."""
    return [Middleware(BoundBodies, body_bytes=int(os.environ[BODY_BYTES]))]


class BoundBodies:
    """Passes on no more of a body than shows that it is too long; the rest is thrown away.

    The app refuses it by what it got; the client, who still sends, can read why.
    """

    def __init__(self, app: ASGIApp, *, body_bytes: int) -> None:
        self._app = app
        self._body_bytes = body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        n_bytes = 0

        async def bounded() -> Message:
            nonlocal n_bytes
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return message
                was_over = n_bytes > self._body_bytes
                n_bytes += len(message.get("body", b""))
                if not was_over or not message.get("more_body", False):
                    return {**message, "body": b""} if was_over else message

        await self._app(scope, bounded, send)
