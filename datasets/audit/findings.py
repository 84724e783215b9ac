"""Cache of audit findings, keyed by the content hash of the files.

An unchanged file is not read again; a renamed one is not decoded again.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

from chorale.datasets.atomic import write_json

FileStamp = tuple[int, int]
"""Size in bytes and modification time in ns; while it is unchanged, so is the content."""

_FORMAT = 3  # raise it when the audit or `audio.load_audio` gives another result for a file
_SAVE_EVERY_S = 30.0


@dataclass(frozen=True)
class Finding:
    """The result of examining one file; `problem` is empty where there is none.

    `clipped_share` (0 to 1) of the samples are in flat tops; `format` is the name of the content's
    format, empty where the file was not decoded.
    """

    duration_s: float
    problem: str = ""
    detail: str = ""
    clipped_share: float = 0.0
    format: str = ""


class FindingsCache:
    """A persistent map: path and stamp -> content hash, content hash -> finding."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._contents: dict[str, tuple[int, int, str]] = {}
        self._findings: dict[str, Finding] = {}
        self._changed = False
        self._saved_s = time.monotonic()
        self._load()

    @classmethod
    @contextmanager
    def opened(cls, file: Path) -> Iterator["FindingsCache"]:
        """The cache in `file`; it is saved at the end of the block, after an exception too.

        An unreadable file is ignored: the cost is another audit.
        """
        findings = cls(file)
        try:
            yield findings
        finally:
            findings.save()

    def content(self, path: str, stamp: FileStamp) -> str:
        """The content hash of an unchanged file, or "" where it is not known."""
        size, changed_ns, content = self._contents.get(_place(path), (-1, -1, ""))
        return content if (size, changed_ns) == stamp else ""

    def finding(self, content: str) -> Finding | None:
        """The finding for this content, or None where it has not been examined."""
        return self._findings.get(content)

    def set_content(self, path: str, stamp: FileStamp, content: str) -> None:
        """Stores the content hash of a file."""
        self._contents[_place(path)] = (*stamp, content)
        self._mark_changed()

    def set_finding(self, content: str, finding: Finding) -> None:
        """Stores the finding for a content hash."""
        self._findings[content] = finding
        self._mark_changed()

    def save(self) -> None:
        """Writes the file if there is anything new."""
        if self._changed:
            findings = {content: astuple(finding) for content, finding in self._findings.items()}
            write_json(
                self._file, {"format": _FORMAT, "contents": self._contents, "findings": findings}
            )
        self._changed, self._saved_s = False, time.monotonic()

    def _mark_changed(self) -> None:
        self._changed = True
        if time.monotonic() - self._saved_s > _SAVE_EVERY_S:  # the most that a crash loses
            self.save()

    def _load(self) -> None:
        try:
            kept = json.loads(self._file.read_text(encoding="utf-8"))
            if kept["format"] == _FORMAT:
                self._contents = {place: tuple(known) for place, known in kept["contents"].items()}
                self._findings = {c: Finding(*values) for c, values in kept["findings"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self._contents, self._findings = {}, {}


def _place(path: str) -> str:
    return str(Path(path).absolute())
