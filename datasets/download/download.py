"""Resumable HTTP download of one file with retries and checksum.

The data is in `NAME.part` until it is complete and its checksum verified; `NAME.part.json` holds
the version of the file (URL, ETag, length) to resume. `datasets.download.fetch` builds on it.
"""

import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from http.client import HTTPResponse
from pathlib import Path
from typing import Protocol

from chorale.datasets.atomic import rename_synced, write_json
from chorale.datasets.disk import format_size, require_free_space
from chorale.datasets.download import web
from chorale.datasets.download.checksum import file_checksum, parse_checksum

MIN_PROGRESS_BYTES = 1024 * 1024
"""Progress beyond the previous maximum after which the count of failures restarts."""


class DownloadListener(Protocol):
    """Receives messages and progress, to print them."""

    def message(self, text: str) -> None:
        """A permanent line."""
        ...

    def progress(self, what: str, done: int, total: int | None) -> None:
        """`done` of `total` bytes of `what` are done; `total` is None where it is unknown."""
        ...


@dataclass(frozen=True)
class RetryPolicy:
    """Retries: `max_attempts` failures in a row, pauses that double, and a network timeout."""

    max_attempts: int = 6
    first_pause_s: float = 1.0
    max_pause_s: float = 60.0
    timeout_s: float = 30.0


DEFAULT_RETRY_POLICY = RetryPolicy()


class ChecksumError(web.WebError):
    """The file's checksum differs from the published one."""


def download(
    url: str,
    target: Path,
    *,
    checksum: str,
    copies: int,
    listener: DownloadListener,
    retry_policy: RetryPolicy,
    max_bytes: int | None = None,
) -> None:
    """Downloads `url` to the file `target`, resuming an interrupted download.

    Args:
        url: https, or http on this machine.
        target: a file that does not exist yet, in an existing folder.
        checksum: as in `DatasetInfo.checksums`; where empty, the file's SHA-256 is reported.
        copies: the free disk space needed, in multiples of the file: 2 if it is unpacked next.
        listener: receives progress, failures and the checksum.
        retry_policy: how often and how long to try.
        max_bytes: a larger file is refused; None: any size.

    Raises:
        web.WebError: the download failed; the partial file is kept for the next call, unless it is
            too large.
        ChecksumError: the checksum differs; the file has been removed.
        UserError: there is not enough disk space.
        OSError: the file cannot be written.
    """
    part = _Part(target, url=url, verified=bool(checksum))
    furthest, failures = part.size(), 0
    while True:
        try:
            _receive(
                part,
                copies=copies,
                listener=listener,
                timeout_s=retry_policy.timeout_s,
                max_bytes=max_bytes,
            )
            break
        except web.TemporaryError as error:
            failures = 0 if part.size() >= furthest + MIN_PROGRESS_BYTES else failures
            furthest, failures = max(furthest, part.size()), failures + 1
            if failures >= retry_policy.max_attempts:
                kept = f"{format_size(part.size())} are kept" if part.size() else "nothing received"
                raise web.WebError(f"{error}, {failures} times in a row; {kept}") from None
            pause_s = max(retry_policy.first_pause_s * 2 ** (failures - 1), error.retry_after_s)
            pause_s = min(pause_s, retry_policy.max_pause_s)
            listener.message(f"{target.name}: {error}; retrying in {pause_s:.0f} s")
            time.sleep(pause_s)
    verify_checksum(part.path, checksum, name=target.name, listener=listener, wrong=part.remove)
    with part.path.open("rb") as complete:
        os.fsync(complete.fileno())
    rename_synced(part.path, target)
    part.remove()


def verify_checksum(
    path: Path, checksum: str, *, name: str, listener: DownloadListener, wrong: Callable[[], None]
) -> None:
    """Compares the file with its published checksum, or reports its SHA-256 where there is none.

    Raises:
        ChecksumError: they differ; `wrong` has been called.
    """
    algorithm, expected = parse_checksum(checksum) if checksum else ("sha256", "")
    progress = partial(listener.progress, f"checking {name}")
    found = file_checksum(path, algorithm, progress=progress)
    if not checksum:
        listener.message(f"{name}: sha256 {found}, unverified: no published checksum")
    elif found == expected:
        listener.message(f"{name}: {algorithm} {found} matches")
    else:
        wrong()
        raise ChecksumError(f"its {algorithm} is {found}, but {expected} was published")


@dataclass(frozen=True)
class _Version:
    """The version of a file that is partially downloaded."""

    url: str
    etag: str = ""
    last_modified: str = ""
    total: int | None = None

    @property
    def validator(self) -> str:
        """The value for `If-Range`, which allows no weak ETag (RFC 9110, 13.1.5)."""
        strong = self.etag if self.etag.startswith('"') else ""
        return strong or self.last_modified


class _Part:
    """The partial file of `target`, and the version of the complete one."""

    def __init__(self, target: Path, *, url: str, verified: bool) -> None:
        self.url = url
        self.path = target.with_name(target.name + ".part")
        self._notes = target.with_name(target.name + ".part.json")
        self._verified = verified

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def version(self) -> _Version | None:
        """The version of the partial file; None if it cannot be resumed."""
        try:
            found = _Version(**json.loads(self._notes.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        # without a validator only the checksum shows whether two parts are of one file
        known = found.url == self.url and (found.validator or self._verified)
        return found if known and self.size() else None

    def note(self, version: _Version) -> None:
        write_json(self._notes, asdict(version))

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self._notes.unlink(missing_ok=True)


def _receive(
    part: _Part,
    *,
    copies: int,
    listener: DownloadListener,
    timeout_s: float,
    max_bytes: int | None,
) -> None:
    """One request; returns when the partial file is complete."""
    version, have = part.version(), part.size()
    if version is not None and version.total == have:
        return
    name = part.path.name.removesuffix(".part")
    headers = {}
    if version is not None:
        headers["Range"] = f"bytes={have}-"
        if version.validator:
            headers["If-Range"] = version.validator
    try:
        response = web.open_url(part.url, headers=headers, timeout_s=timeout_s)
    except web.RangeError:
        part.remove()
        raise
    with response:
        if response.status == 206:
            version = _continued(response, version, have)
            if version is None:
                part.remove()
                raise web.TemporaryError("the file on the server has changed")
            listener.message(f"{name}: resuming from {format_size(have)}")
        else:
            if have:
                listener.message(f"{name}: the partial file cannot be resumed; starting again")
            part.remove()
            version, have = _described(response, part.url, response.length), 0
            part.note(version)
        _require_size(version.total or 0, max_bytes, part)
        if version.total is not None:
            purpose = f"{name} and its content" if copies > 1 else name
            require_free_space(part.path.parent, copies * version.total - have, purpose=purpose)
        with part.path.open("ab") as written:
            for block in web.read_body(response):
                written.write(block)
                have += len(block)
                _require_size(have, max_bytes, part)
                listener.progress(name, have, version.total)
        if version.total not in (None, have):
            # only where the response had no length
            if have > version.total:
                part.remove()
            raise web.TemporaryError(f"received {have} bytes instead of {version.total}")
    part.note(_described(response, part.url, have))


def _require_size(n_bytes: int, max_bytes: int | None, part: _Part) -> None:
    if max_bytes is not None and n_bytes > max_bytes:
        part.remove()
        raise web.WebError(f"the file is larger than {format_size(max_bytes)}, so it is another")


def _described(response: HTTPResponse, url: str, total: int | None) -> _Version:
    headers = response.headers
    return _Version(url, headers.get("ETag", ""), headers.get("Last-Modified", ""), total)


def _continued(response: HTTPResponse, version: _Version | None, have: int) -> _Version | None:
    """The version of a 206 response, if it continues the partial file."""
    place = re.fullmatch(
        r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})",
        response.headers.get("Content-Range", ""),
    )
    if version is None or place is None or int(place[1]) != have:
        return None
    last, total = int(place[2]), int(place[3])
    new = _described(response, version.url, total)
    same_length = version.total in (None, total) and last == total - 1
    same_tag = not (version.etag and new.etag) or version.etag == new.etag
    return new if same_length and same_tag and response.length in (None, total - have) else None
