"""A histogram of durations in Prometheus' form: cumulative counts by upper bound, and their sum."""

import threading
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate


class DurationHistogram:
    """Counts durations by upper bounds, in seconds; any thread may add one."""

    def __init__(self, bounds_s: Sequence[float], durations_s: Iterable[float] = ()) -> None:
        """Counts `durations_s`; `bounds_s` rise, and one of infinity follows them."""
        self._bounds_s = tuple(bounds_s)
        self._counts = [0] * (len(self._bounds_s) + 1)
        self._lock = threading.Lock()
        self._sum_s = 0.0
        for duration_s in durations_s:
            self.add(duration_s)

    def add(self, duration_s: float) -> None:
        """Counts one duration."""
        i = bisect_left(self._bounds_s, duration_s)
        with self._lock:
            self._counts[i] += 1
            self._sum_s += duration_s

    def read(self) -> tuple[list[tuple[str, float]], float]:
        """(upper bound as text, number of durations up to it) for each bound, and their sum."""
        with self._lock:
            counts, sum_s = list(self._counts), self._sum_s
        names = [*map(str, map(float, self._bounds_s)), "+Inf"]
        return list(zip(names, map(float, accumulate(counts)), strict=True)), sum_s
