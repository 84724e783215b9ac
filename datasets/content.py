"""Files by their content: what the audit saw of a file decides what is remembered of it."""

import hashlib
import json
from typing import Any, NamedTuple


class HashedFile(NamedTuple):
    """One file to extract, and the SHA-256 that the audit saw."""

    path: str
    content: str


def digest(value: Any) -> str:
    """A short hash of plain data, the same in every process: 128 bits as hexadecimal digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]
