"""Downloads one file over an unreliable line: it goes on where it stopped, and never leaves a half.

What has come in lies in `NAME.part` until it is whole and its checksum fits; `NAME.part.json` says
which version of the file it is the beginning of. `datasets.download.fetch` builds on it.
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
from chorale.datasets.disk import require_free, size_text
from chorale.datasets.download import web
from chorale.datasets.download.checksum import file_digest, parse_checksum

PROGRESS_BYTES = 1024 * 1024
"""So much more than ever before has to come in for a failure to count as the first again."""


class Listener(Protocol):
    """What is told to the person who waits."""

    def say(self, text: str) -> None:
        """A line that stays."""
        ...

    def progress(self, what: str, done: int, total: int | None) -> None:
        """`done` of `total` bytes of `what` are there; `total` is None where nobody knows."""
        ...


@dataclass(frozen=True)
class Patience:
    """How long to try: `attempts` failures in a row, pauses that double, waits for the network."""

    attempts: int = 6
    first_pause_s: float = 1.0
    longest_pause_s: float = 60.0
    timeout_s: float = 30.0


PATIENT = Patience()


class ChecksumError(web.WebError):
    """The file that came is not the one that was published; it has been removed."""


def download(
    url: str,
    target: Path,
    *,
    checksum: str,
    copies: int,
    listener: Listener,
    patience: Patience,
) -> None:
    """Gets `url` as the file `target`, or goes on with what an earlier call has left of it.

    Args:
        url: https, or http on this machine.
        target: a file that is not there yet, in a folder that is.
        checksum: as in `DatasetInfo.checksums`; where empty, the file's SHA-256 is said.
        copies: the disk must have room for so many times the file: 2 where it is unpacked next.
        listener: is told of progress, of each failure, and of the checksum.
        patience: how often and how long to try.

    Raises:
        web.WebError: the file cannot be had; what has come of it is kept for the next call.
        ChecksumError: it came, but is another.
        UserError: there is no room for it.
        OSError: it cannot be written.
    """
    part = _Part(target, url=url, verified=bool(checksum))
    furthest, failures = part.size(), 0
    while True:
        try:
            _receive(part, copies=copies, listener=listener, timeout_s=patience.timeout_s)
            break
        except web.TemporaryError as error:
            failures = 0 if part.size() >= furthest + PROGRESS_BYTES else failures
            furthest, failures = max(furthest, part.size()), failures + 1
            if failures >= patience.attempts:
                kept = f"{size_text(part.size())} are kept" if part.size() else "nothing came"
                raise web.WebError(f"{error}, {failures} times in a row; {kept}") from None
            pause_s = max(patience.first_pause_s * 2 ** (failures - 1), error.retry_after_s)
            pause_s = min(pause_s, patience.longest_pause_s)
            listener.say(f"{target.name}: {error}; trying again in {pause_s:.0f} s")
            time.sleep(pause_s)
    verify(part.path, checksum, name=target.name, listener=listener, wrong=part.remove)
    with part.path.open("rb") as whole:
        os.fsync(whole.fileno())
    rename_synced(part.path, target)
    part.remove()


def verify(
    path: Path, checksum: str, *, name: str, listener: Listener, wrong: Callable[[], None]
) -> None:
    """Compares the file with its published checksum, or says the one that it has.

    Raises:
        ChecksumError: they differ; `wrong` has been called.
    """
    algorithm, expected = parse_checksum(checksum) if checksum else ("sha256", "")
    progress = partial(listener.progress, f"checking {name}")
    found = file_digest(path, algorithm, progress=progress)
    if not checksum:
        listener.say(f"{name}: sha256 {found}, unverified: there is no published one to compare")
    elif found == expected:
        listener.say(f"{name}: {algorithm} {found} fits")
    else:
        wrong()
        raise ChecksumError(f"its {algorithm} is {found}, but {expected} was published")


@dataclass(frozen=True)
class _Version:
    """Which file the bytes in a `.part` are the beginning of."""

    url: str
    etag: str = ""
    last_modified: str = ""
    total: int | None = None

    @property
    def validator(self) -> str:
        """For `If-Range`, which takes no weak ETag (RFC 9110, 13.1.5)."""
        strong = self.etag if self.etag.startswith('"') else ""
        return strong or self.last_modified


class _Part:
    """The beginning of `target`, and what is known of the whole."""

    def __init__(self, target: Path, *, url: str, verified: bool) -> None:
        self.url = url
        self.path = target.with_name(target.name + ".part")
        self._notes = target.with_name(target.name + ".part.json")
        self._verified = verified

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def version(self) -> _Version | None:
        """Of what there is; None where that cannot be gone on with."""
        try:
            found = _Version(**json.loads(self._notes.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        # without a validator only the checksum tells whether two halves are of one file
        known = found.url == self.url and (found.validator or self._verified)
        return found if known and self.size() else None

    def note(self, version: _Version) -> None:
        write_json(self._notes, asdict(version))

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self._notes.unlink(missing_ok=True)


def _receive(part: _Part, *, copies: int, listener: Listener, timeout_s: float) -> None:
    """One request; returns when the part is the whole file."""
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
                raise web.TemporaryError("the file has changed meanwhile")
            listener.say(f"{name}: going on from {size_text(have)}")
        else:
            if have:
                listener.say(f"{name}: what there is cannot be gone on with; starting anew")
            part.remove()
            version, have = _described(response, part.url, response.length), 0
            part.note(version)
        if version.total is not None:
            purpose = f"{name} and what it unpacks to" if copies > 1 else name
            require_free(part.path.parent, copies * version.total - have, purpose=purpose)
        with part.path.open("ab") as written:
            for block in web.blocks(response):
                written.write(block)
                have += len(block)
                listener.progress(name, have, version.total)
        if version.total not in (None, have):
            # only where the answer told no length of its own
            if have > version.total:
                part.remove()
            raise web.TemporaryError(f"{have} bytes came instead of {version.total}")
    part.note(_described(response, part.url, have))


def _described(response: HTTPResponse, url: str, total: int | None) -> _Version:
    headers = response.headers
    return _Version(url, headers.get("ETag", ""), headers.get("Last-Modified", ""), total)


def _continued(response: HTTPResponse, version: _Version | None, have: int) -> _Version | None:
    """The version that a 206 goes on with, when it is the one that we have the beginning of."""
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
