"""What the audit has found so far, remembered between sweeps by the content of the files.

A file that has not changed is not even read again; one that was renamed is not decoded again.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

from chorale.datasets.atomic import write_json

Stamp = tuple[int, int]
"""Size in bytes and time of the last change in ns: another stamp, perhaps another content."""

_FORMAT = 2  # raise it when the audit, or `audio.load`, judges the same file in another way
_SAVE_EVERY_S = 30.0


@dataclass(frozen=True)
class Finding:
    """What listening to one file found; `problem` is empty where nothing is wrong.

    `clipped_share` (0 to 1) of the samples are in flat tops; `format` is the content's, in
    libsndfile's words, and empty where the file is not even decoded.
    """

    duration_s: float
    problem: str = ""
    detail: str = ""
    clipped_share: float = 0.0
    format: str = ""


class Findings:
    """The memory: path and stamp -> content hash, content hash -> finding."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._contents: dict[str, tuple[int, int, str]] = {}
        self._findings: dict[str, Finding] = {}
        self._changed = False
        self._saved_s = time.monotonic()
        self._recall()

    @classmethod
    @contextmanager
    def kept(cls, file: Path) -> Iterator["Findings"]:
        """The memory in `file`; what is learnt in the block stays there, even if it is broken off.

        A file that cannot be read any more is forgotten: all it costs is another audit.
        """
        findings = cls(file)
        try:
            yield findings
        finally:
            findings.save()

    def content(self, path: str, stamp: Stamp) -> str:
        """The content hash of an unchanged file, or "" where it is not known."""
        size, changed_ns, content = self._contents.get(_place(path), (-1, -1, ""))
        return content if (size, changed_ns) == stamp else ""

    def finding(self, content: str) -> Finding | None:
        """What was found in this content, or None where nobody has listened yet."""
        return self._findings.get(content)

    def learn_content(self, path: str, stamp: Stamp, content: str) -> None:
        """Remembers what content a file has."""
        self._contents[_place(path)] = (*stamp, content)
        self._learnt()

    def learn_finding(self, content: str, finding: Finding) -> None:
        """Remembers what was found in a content."""
        self._findings[content] = finding
        self._learnt()

    def save(self) -> None:
        """Writes down what is new."""
        if self._changed:
            findings = {content: astuple(finding) for content, finding in self._findings.items()}
            write_json(
                self._file, {"format": _FORMAT, "contents": self._contents, "findings": findings}
            )
        self._changed, self._saved_s = False, time.monotonic()

    def _learnt(self) -> None:
        self._changed = True
        if time.monotonic() - self._saved_s > _SAVE_EVERY_S:  # a power cut costs this much
            self.save()

    def _recall(self) -> None:
        try:
            kept = json.loads(self._file.read_text(encoding="utf-8"))
            if kept["format"] == _FORMAT:
                self._contents = {place: tuple(known) for place, known in kept["contents"].items()}
                self._findings = {c: Finding(*values) for c, values in kept["findings"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self._contents, self._findings = {}, {}


def _place(path: str) -> str:
    return str(Path(path).absolute())
