"""A small HTTP server for WSGI apps, in threads of this process: a sweep's metrics, a dashboard."""

import errno
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socket import AF_INET6, gaierror
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from chorale.datasets.decoding.messages import SERVER_THREAD
from chorale.datasets.errors import UserError

SILENT_CLIENT_S = 30.0
"""How long a client may take to send its request, in seconds."""

CLOSE_POLL_S = 0.1
"""How often the server looks whether it should end, in seconds."""

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class _Server(ThreadingMixIn, WSGIServer):
    """A threaded server, whose threads end with the process at the latest."""

    daemon_threads = True
    allow_reuse_address = True

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answers a request in a thread with a name that says that it starts no programs."""
        threading.Thread(
            target=self.process_request_thread,
            args=(request, client_address),
            name=SERVER_THREAD,
            daemon=True,
        ).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Prints an error's traceback, but not that a client has gone or sent nothing."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _ServerIPv6(_Server):
    address_family = AF_INET6


class _Quiet(WSGIRequestHandler):
    """Logs errors, but no successful requests."""

    timeout = SILENT_CLIENT_S

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Logs nothing."""


@contextmanager
def serving(app: WsgiApp, *, host: str, port: int, prefix: str = "--") -> Iterator[str]:
    """Serves `app` while the block runs; yields its URL, without a path. Port 0 is any free one.

    `prefix` is that of the options `host` and `port`, for errors.

    Raises:
        UserError: the port is taken, or the host is no address of this machine.
    """
    with _listen(app, host, port, prefix) as server:
        thread = threading.Thread(
            target=server.serve_forever, args=[CLOSE_POLL_S], name=SERVER_THREAD, daemon=True
        )
        thread.start()
        try:
            shown = f"[{host}]" if ":" in host else host
            yield f"http://{shown}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def port_taken(port: int, option: str = "--port") -> UserError:
    """The error to raise where another program listens on the port."""
    return UserError(f"port {port} is taken; choose another with {option}, or any with {option} 0")


def _listen(app: WsgiApp, host: str, port: int, prefix: str) -> WSGIServer:
    server_class = _ServerIPv6 if ":" in host else _Server
    try:
        return make_server(host, port, app, server_class=server_class, handler_class=_Quiet)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise port_taken(port, f"{prefix}port") from None
        if isinstance(error, gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise UserError(
                f"{prefix}host {host} is no address of this machine; type {prefix}host 127.0.0.1, "
                f"or 0.0.0.0 for all of its addresses"
            ) from None
        raise UserError(
            f"port {port} cannot be used ({error.strerror}); choose another with {prefix}port"
        ) from None
