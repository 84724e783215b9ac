"""Finds the nearest embeddings: all compared where they are few, the nearest cells where many.

`search.champion.library.library` asks here. A comparison of all reads every number once, which took
11 ms of one core for 100,000 tracks of 256 numbers; see `tests/benchmarks/bench_recommend.py`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from math import isqrt
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Found = tuple[NDArray[np.intp], NDArray[np.float32]]
"""Rows, nearest first, and their cosines."""

EXACT_BELOW = 50_000
"""Tracks of 256 numbers: so many are compared one by one in about 5 ms."""
RECALL = 0.95
"""So many of the true ten nearest an approximate index finds, measured when it is made."""

_N_ASKED, _N_NEAREST, _SEED = 200, 10, 0
_POINTS_A_CELL = 64


class Index(Protocol):
    """What finds the nearest."""

    def nearest(self, vector: NDArray[np.float32], n: int) -> Found:
        """The `n` rows nearest to a vector (width,) of length 1, or all where there are fewer."""
        ...


class Exact:
    """Compares all."""

    def __init__(self, embeddings: NDArray[np.float32]) -> None:
        """Of (n_tracks, width), each row of length 1."""
        self._embeddings = embeddings

    def nearest(self, vector: NDArray[np.float32], n: int) -> Found:
        """See `Index`."""
        cosines = self._embeddings @ vector  # (n_tracks,)
        n = min(n, len(cosines))
        if n < len(cosines):
            rows = np.argpartition(-cosines, n - 1)[:n] if n else np.zeros(0, np.intp)
        else:
            rows = np.arange(n)
        rows = rows[np.lexsort((rows, -cosines[rows]))]
        return rows, cosines[rows]


class Cells:
    """Compares with the tracks of the nearest cells alone.

    The cells are found by k-means, about as many as the root of the number of tracks; so many of
    them are looked into as find `RECALL` of what `Exact` finds, for tracks drawn from the library.

    Source: Jégou, Douze, Schmid 2011, "Product quantization for nearest neighbor search" (the
    inverted file), https://doi.org/10.1109/TPAMI.2010.57, by Faiss.
    """

    def __init__(self, embeddings: NDArray[np.float32]) -> None:
        """Of (n_tracks, width), each row of length 1; takes about a second for 100,000.

        Raises:
            ImportError: Faiss is not installed.
        """
        import faiss

        self._faiss: Any = faiss
        n_tracks, width = embeddings.shape
        self._cells = max(1, isqrt(n_tracks))
        self._quantiser = faiss.IndexFlatIP(width)  # Faiss keeps no reference of its own
        self._index = faiss.IndexIVFFlat(
            self._quantiser, width, self._cells, faiss.METRIC_INNER_PRODUCT
        )
        self._index.cp.seed = _SEED
        self._index.cp.min_points_per_centroid = 1  # fewer than it likes are no reason to warn
        self._index.cp.max_points_per_centroid = _POINTS_A_CELL
        with self._one_thread():
            self._index.train(embeddings)
            self._index.add(embeddings)
            self.recall = self._choose(embeddings)

    @property
    def probed(self) -> int:
        """So many cells are looked into."""
        return int(self._index.nprobe)

    def nearest(self, vector: NDArray[np.float32], n: int) -> Found:
        """See `Index`; it may miss some, and find fewer than `n` where `n` is large."""
        with self._one_thread():
            cosines, rows = self._index.search(vector[None], min(n, self._index.ntotal))
        there = rows[0] >= 0
        return rows[0][there].astype(np.intp), cosines[0][there]

    def _choose(self, embeddings: NDArray[np.float32]) -> float:
        """Doubles the cells that are looked into until enough is found; gives the recall."""
        rng = np.random.default_rng(_SEED)
        asked = np.sort(rng.choice(len(embeddings), min(_N_ASKED, len(embeddings)), replace=False))
        exact = Exact(embeddings)
        n = _N_NEAREST + 1  # a track finds itself, which proves nothing
        truth = [{*exact.nearest(embeddings[row], n)[0].tolist()} - {row} for row in asked.tolist()]
        self._index.nprobe = 1
        while True:
            found = self._index.search(embeddings[asked], n)[1]
            hits = sum(len(t & set(f.tolist())) for t, f in zip(truth, found, strict=True))
            recall = hits / sum(map(len, truth))
            if recall >= RECALL or self.probed >= self._cells:
                return recall
            self._index.nprobe = min(2 * self.probed, self._cells)

    @contextmanager
    def _one_thread(self) -> Iterator[None]:
        """Faiss brings an OpenMP of its own beside PyTorch's; it counts by the calling thread."""
        before = self._faiss.omp_get_max_threads()
        self._faiss.omp_set_num_threads(1)
        try:
            yield
        finally:
            self._faiss.omp_set_num_threads(before)


def index_of(embeddings: NDArray[np.float32], *, exact_below: int = EXACT_BELOW) -> Index:
    """The fitting index; without Faiss all are compared, which is right, only slower."""
    if len(embeddings) < exact_below:
        return Exact(embeddings)
    try:
        return Cells(embeddings)
    except ImportError:
        return Exact(embeddings)
