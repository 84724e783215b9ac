"""HTTPS GET requests, with failures classified as temporary (retry) or permanent.

`datasets.download.download` builds on it. Only https is allowed; http only to this machine (tests,
mirrors behind a tunnel).
"""

import ipaddress
import ssl
from collections.abc import Iterator, Mapping
from http.client import HTTPException, HTTPMessage, HTTPResponse
from typing import IO, cast
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import BaseHandler, HTTPRedirectHandler, ProxyHandler, Request, build_opener

RETRY_STATUSES = frozenset((408, 425, 429, 500, 502, 503, 504))
"""HTTP statuses of temporary failures."""

_BLOCK_BYTES = 256 * 1024


class WebError(Exception):
    """A request failed, and a retry would not help."""


class TemporaryError(WebError):
    """A retry may help, after `retry_after_s` where the server asked for a pause."""

    def __init__(self, reason: str, *, retry_after_s: float = 0.0) -> None:
        """`reason` is printed to the user."""
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class RangeError(TemporaryError):
    """The requested range is beyond the end of the file."""


def open_url(url: str, *, headers: Mapping[str, str], timeout_s: float) -> HTTPResponse:
    """The response to a GET: status 200, or 206 where `headers` ask for a range. Close it.

    Redirects are followed, to https only.

    Args:
        url: where the file is.
        headers: sent with the request.
        timeout_s: for connecting, and for each wait for the next bytes.

    Raises:
        TemporaryError: no connection, or a status of a temporary failure.
        WebError: any other failure.
    """
    _require_safe(url)
    handlers: list[BaseHandler] = [HttpsRedirects()]
    if _is_loopback(url):
        handlers.append(ProxyHandler({}))
    every = {"User-Agent": "chorale", "Accept-Encoding": "identity", **headers}
    try:
        opened = build_opener(*handlers).open(Request(url, headers=every), timeout=timeout_s)
        response = cast(HTTPResponse, opened)
    except HTTPError as error:
        with error:
            raise _answered(error) from None
    except URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise WebError(
                f"its certificate is not valid ({error.reason.verify_message})"
            ) from None
        raise TemporaryError(f"no connection ({error.reason})") from None
    except (OSError, HTTPException) as error:
        raise TemporaryError(f"no response ({_text(error)})") from None
    except ValueError as error:
        raise WebError(f"invalid address ({error})") from None
    encoding = response.headers.get("Content-Encoding", "identity")
    if response.status not in (200, 206) or encoding != "identity":
        response.close()
        raise WebError(f"it answers {response.status} with the encoding {encoding!r}, not the file")
    return response


def read_body(response: HTTPResponse) -> Iterator[bytes]:
    """Yields the body in blocks as they arrive.

    Raises:
        TemporaryError: the connection breaks before the stated length, or nothing arrives within
            the timeout.
    """
    total, got = response.length, 0
    while total is None or got < total:
        n_bytes = _BLOCK_BYTES if total is None else min(_BLOCK_BYTES, total - got)
        try:
            block = response.read1(n_bytes)
        except (OSError, HTTPException) as error:
            raise TemporaryError(f"the connection broke ({_text(error)})") from None
        if not block:
            break
        got += len(block)
        yield block
    if total is not None and got < total:
        raise TemporaryError(f"the connection broke after {got} of {total} bytes")


class HttpsRedirects(HTTPRedirectHandler):
    """Follows redirects from https to https only."""

    def redirect_request(
        self,
        req: Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> Request | None:
        """The request to `newurl`."""
        _require_safe(newurl)
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            raise WebError(f"it leads from https to {newurl!r}, which is not")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _require_safe(url: str) -> None:
    if not (urlsplit(url).scheme == "https" or _is_loopback(url)):
        raise WebError(f"{url!r} is not an https address; only https is allowed")


def _is_loopback(url: str) -> bool:
    parts = urlsplit(url)
    if parts.scheme != "http":
        return False
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.hostname == "localhost"


def _answered(error: HTTPError) -> WebError:
    reason = f"it answers {error.code} {_text(error.reason)}"
    if error.code == 416:
        return RangeError(reason)
    if error.code in RETRY_STATUSES:
        pause = error.headers.get("Retry-After", "")
        return TemporaryError(reason, retry_after_s=float(pause) if pause.isdecimal() else 0.0)
    return WebError(reason)


def _text(reason: object) -> str:
    """The text of a server or network error, without terminal control characters."""
    text = str(reason) or type(reason).__name__
    return "".join(char if char.isprintable() else "?" for char in text)
