"""Checksums of files, with the algorithm named (`sha1:ade154f7...`); without a name it is SHA-256.

Dataset files state them, `datasets.download.download` compares.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

LENGTHS = {"sha256": 64, "sha512": 128, "sha1": 40, "md5": 32}
"""Hexadecimal digits of each algorithm. The last two find damage, but no malice."""

BLOCK_BYTES = 1024 * 1024


def parse_checksum(text: str) -> tuple[str, str]:
    """Algorithm and hexadecimal digest of a checksum as a dataset file has it.

    Raises:
        ValueError: the algorithm is unknown, or the digest is not one of its kind.
    """
    named, colon, digest = text.rpartition(":")
    algorithm = named if colon else "sha256"
    if algorithm not in LENGTHS:
        raise ValueError(f"{algorithm=} of a checksum must be one of {', '.join(LENGTHS)}")
    digest = digest.lower()
    if len(digest) != LENGTHS[algorithm] or not set(digest) <= set("0123456789abcdef"):
        raise ValueError(f"{digest=} must be {LENGTHS[algorithm]} hexadecimal digits")
    return algorithm, digest


def file_digest(path: Path, algorithm: str, *, progress: Callable[[int, int], None]) -> str:
    """The hexadecimal digest of a file; `progress` is told how many of how many bytes are read."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    total, done = path.stat().st_size, 0
    with path.open("rb") as opened:
        while block := opened.read(BLOCK_BYTES):
            digest.update(block)
            done += len(block)
            progress(done, total)
    return digest.hexdigest()
