"""Content hashes as cache keys: findings and features are cached by SHA-256, not by path."""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple


class HashedFile(NamedTuple):
    """One file to extract, and its SHA-256 at the time of the audit."""

    path: str
    content: str


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def json_digest(value: Any) -> str:
    """A hash of a JSON value, the same in every process: 128 bits as 32 hexadecimal digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]
