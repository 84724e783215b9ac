"""File checksums with the algorithm as prefix (`sha1:ade154f7...`); without one it is SHA-256.

Dataset files state them, `datasets.download.download` verifies them.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

N_HEX_DIGITS = {"sha256": 64, "sha512": 128, "sha1": 40, "md5": 32}
"""Hexadecimal digits of each algorithm. The last two detect damage, but not tampering."""

_BLOCK_BYTES = 1024 * 1024


def parse_checksum(text: str) -> tuple[str, str]:
    """Algorithm and hexadecimal digest of a checksum of a dataset file.

    Raises:
        ValueError: the algorithm is unknown, or the digest has the wrong form.
    """
    named, colon, digest = text.rpartition(":")
    algorithm = named if colon else "sha256"
    if algorithm not in N_HEX_DIGITS:
        raise ValueError(f"{algorithm=} of a checksum must be one of {', '.join(N_HEX_DIGITS)}")
    digest = digest.lower()
    if len(digest) != N_HEX_DIGITS[algorithm] or not set(digest) <= set("0123456789abcdef"):
        raise ValueError(f"{digest=} must be {N_HEX_DIGITS[algorithm]} hexadecimal digits")
    return algorithm, digest


def file_checksum(path: Path, algorithm: str, *, progress: Callable[[int, int], None]) -> str:
    """The hexadecimal digest of a file; calls `progress` with the bytes read and their total."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    total, done = path.stat().st_size, 0
    with path.open("rb") as opened:
        while block := opened.read(_BLOCK_BYTES):
            digest.update(block)
            done += len(block)
            progress(done, total)
    return digest.hexdigest()
