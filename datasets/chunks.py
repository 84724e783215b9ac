"""Chunked parallel map over tracks: in one process, in a pool or on a cluster.

The audit and the feature cache split their work here; their callers pass the `ChunkMap`.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")

CHUNK_TRACKS = 32
"""Large enough that the overhead of a task is small, small enough that a failure loses little."""


class ChunkMap(Protocol):
    """Same semantics as the builtin `map`: one result per chunk, in the order of the chunks.

    A pool's or a cluster's map may run chunks in parallel in other processes: the work is a
    module-level function (or a `functools.partial` of one) and all arguments can be pickled.
    """

    def __call__(self, work: Callable[[T], R], chunks: Sequence[T], /) -> Iterable[R]:
        """Calls `work` once for each chunk."""
        ...


def in_chunks(
    items: Sequence[T], *, sizes: Sequence[float] | None = None, limit: float = 0.0
) -> list[Sequence[T]]:
    """Splits `items` into consecutive chunks of at most `CHUNK_TRACKS`.

    Where `sizes` are given, those of a chunk sum to at most `limit`; an item larger than `limit`
    is a chunk of its own.
    """
    chunks = []
    first, filled = 0, 0.0
    for i in range(len(items)):
        size = sizes[i] if sizes is not None else 0.0
        if i > first and (i - first == CHUNK_TRACKS or filled + size > limit):
            chunks.append(items[first:i])
            first, filled = i, 0.0
        filled += size
    if first < len(items):
        chunks.append(items[first:])
    return chunks
