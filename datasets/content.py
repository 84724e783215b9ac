"""Content hashes as cache keys: findings and features are cached by SHA-256, not by path."""

import hashlib
import json
from typing import Any, NamedTuple


class HashedFile(NamedTuple):
    """One file to extract, and its SHA-256 at the time of the audit."""

    path: str
    content: str


def json_digest(value: Any) -> str:
    """A hash of a JSON value, the same in every process: 128 bits as 32 hexadecimal digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]
