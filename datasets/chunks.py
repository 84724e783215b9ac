"""Work in chunks of tracks, so that one process, a pool or a cluster can do it alike.

The audit and the feature cache cut their work here; whoever calls them brings the `ChunkMap`.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")

CHUNK_TRACKS = 32
"""Enough that sending a chunk costs nothing beside it, few enough that little is lost with it."""


class ChunkMap(Protocol):
    """Means what the builtin `map` means: one result a chunk, in the order of the chunks.

    A pool's or a cluster's map may run chunks side by side, in other processes: the work is a
    function of a module (or a `functools.partial` of one) and everything else can be pickled.
    """

    def __call__(self, work: Callable[[T], R], chunks: Sequence[T], /) -> Iterable[R]:
        """Calls `work` once for each chunk."""
        ...


def in_chunks(
    items: Sequence[T], *, sizes: Sequence[float] | None = None, limit: float = 0.0
) -> list[Sequence[T]]:
    """Cuts `items` into runs of at most `CHUNK_TRACKS`.

    Where `sizes` are given, those of a run sum to at most `limit`; an item larger than `limit`
    makes a run of its own.
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
