"""Streams an uploaded body or form to a file, and refuses one that is too large.

No more than one chunk is in memory, whatever length the client declares.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import IO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from chorale.search.champion.serve.limits import MB, RefusedRequest, RequestLimits

FIELD = "file"
FORM_TYPE = "multipart/form-data"
REFUSED_CONTENT_TYPES = ("text/", "image/", "application/json", "application/x-www-form-urlencoded")


async def receive_upload(
    headers: Mapping[str, str],
    chunks: AsyncIterator[bytes],
    file: IO[bytes],
    *,
    limits: RequestLimits,
) -> None:
    """Writes the audio of a request to `file`: the whole body, or the form's part called `file`.

    Raises:
        RefusedRequest: 413 too large, 415 not audio, 422 empty or an invalid form, 408 too slow,
            400 client disconnected.
    """
    kind = headers.get("content-type", "").strip().lower()
    if kind.startswith(REFUSED_CONTENT_TYPES):
        raise RefusedRequest(
            415, "not audio",
            f"the content type is '{kind}'; send audio as audio/* or application/octet-stream, or "
            f"a form ({FORM_TYPE}) with a field '{FIELD}'",
            unread=True,
        )  # fmt: skip
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > limits.body_bytes:
        raise _too_large(limits)
    form = _Form(headers["content-type"], file) if kind.startswith(FORM_TYPE) else None
    n_bytes = 0
    try:
        async with asyncio.timeout(limits.upload_s):
            async for chunk in chunks:
                n_bytes += len(chunk)
                if n_bytes > limits.body_bytes:
                    raise _too_large(limits)
                if form:
                    form.write(chunk, is_last=str(n_bytes) == length)
                else:
                    file.write(chunk)
    except TimeoutError:
        detail = f"the body did not arrive within {limits.upload_s:g} s"
        raise RefusedRequest(408, "too slow", detail, unread=True) from None
    except ClientDisconnect:
        raise RefusedRequest(400, "gone", "the client went away", unread=True) from None
    if form:
        form.end()
    file.flush()
    if not file.tell():
        raise RefusedRequest(422, "empty", "there is no audio in the request: 0 bytes")


def _too_large(limits: RequestLimits) -> RefusedRequest:
    detail = f"the body is larger than {limits.body_bytes / MB:g} MB, the maximum"
    return RefusedRequest(413, "too large", detail, unread=True)


class _Form:
    """A streamed form: its field `file` is written to a file, everything else is dropped."""

    def __init__(self, content_type: str, file: IO[bytes]) -> None:
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if not boundary:
            raise _broken("it has no boundary")
        self._file = file
        self._header = [b"", b""]
        self._is_audio = self._found = self._ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": lambda data, i, j: self._add(0, data[i:j]),
                    "on_header_value": lambda data, i, j: self._add(1, data[i:j]),
                    "on_header_end": self._header_end,
                    "on_part_data": self._data,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise _broken(str(error)) from None

    def write(self, chunk: bytes, *, is_last: bool) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _broken(str(error), unread=not is_last) from None

    def end(self) -> None:
        if not self._ended:
            raise _broken("it is incomplete", unread=False)
        if not self._found:
            raise RefusedRequest(422, "broken form", f"the form has no field '{FIELD}' with a file")

    def _begin(self) -> None:
        self._is_audio = False
        self._header = [b"", b""]

    def _add(self, which: int, data: bytes) -> None:
        self._header[which] += data

    def _header_end(self) -> None:
        name, value = self._header
        self._header = [b"", b""]
        if name.lower() == b"content-disposition":
            _, options = parse_options_header(value)
            self._is_audio = options.get(b"name") == FIELD.encode() and not self._found
            self._found |= self._is_audio

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._is_audio:
            self._file.write(data[start:end])

    def _end(self) -> None:
        self._ended = True


def _broken(why: str, *, unread: bool = True) -> RefusedRequest:
    return RefusedRequest(422, "broken form", f"the form cannot be read: {why}", unread=unread)
