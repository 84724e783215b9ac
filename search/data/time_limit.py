"""A limit on the time of a chunked map, by its expected time: it ends early where it would exceed.

`search.data.feature_extraction` runs it, so that features do not take the whole time of a sweep.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from chorale.datasets.chunks import ChunkMap

T = TypeVar("T")
R = TypeVar("R")

MIN_CHUNKS = 4
"""From so many results on the time of all of them is extrapolated; the first ones of several
workers arrive together."""


class TooSlowError(Exception):
    """A map would take about `expected_s` seconds, which is more than it may."""

    def __init__(self, expected_s: float) -> None:
        super().__init__(f"about {expected_s:.0f} s")
        self.expected_s = expected_s


def limited_map(
    run: ChunkMap, limit_s: float, *, clock: Callable[[], float] = time.perf_counter
) -> ChunkMap:
    """`run`, which raises `TooSlowError` as soon as it is seen to take longer than `limit_s`.

    Args:
        run: the map.
        limit_s: seconds.
        clock: returns the time in seconds.
    """

    def limited(work: Callable[[T], R], chunks: Sequence[T], /) -> Iterator[R]:
        began = clock()
        for n_done, result in enumerate(run(work, chunks), start=1):
            yield result
            spent_s = clock() - began
            expected_s = spent_s / n_done * len(chunks)
            is_known = n_done >= MIN_CHUNKS or spent_s > limit_s
            if n_done < len(chunks) and is_known and expected_s > limit_s:
                raise TooSlowError(expected_s)

    return limited
