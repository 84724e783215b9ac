"""Nearest-neighbour search of embeddings: exact for small libraries, inverted-file for large ones.

`search.champion.library.library` uses it. Exact search took 11 ms of one core for 100,000
embeddings of width 256; see `tests/benchmarks/bench_recommend.py`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from math import isqrt
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Neighbours = tuple[NDArray[np.intp], NDArray[np.float32]]
"""Rows, nearest first, and their cosines."""

EXACT_BELOW = 50_000
"""Exact search over so many embeddings of width 256 takes about 5 ms."""
RECALL = 0.95
"""Minimum recall@10 of the approximate index, measured when it is built."""

_N_QUERIES, _N_NEAREST, _SEED = 200, 10, 0
_POINTS_A_CELL = 64


class Index(Protocol):
    """A nearest-neighbour index over unit vectors."""

    def nearest(self, vector: NDArray[np.float32], n: int) -> Neighbours:
        """The `n` rows nearest to a vector (width,) of length 1, or all where there are fewer."""
        ...


class ExactIndex:
    """Exact search by cosine."""

    def __init__(self, embeddings: NDArray[np.float32]) -> None:
        """Of (n_tracks, width), each row of length 1."""
        self._embeddings = embeddings

    def nearest(self, vector: NDArray[np.float32], n: int) -> Neighbours:
        """See `Index`."""
        cosines = self._embeddings @ vector  # (n_tracks,)
        n = min(n, len(cosines))
        if n < len(cosines):
            rows = np.argpartition(-cosines, n - 1)[:n] if n else np.zeros(0, np.intp)
        else:
            rows = np.arange(n)
        rows = rows[np.lexsort((rows, -cosines[rows]))]
        return rows, cosines[rows]


class InvertedFileIndex:
    """Approximate search in the nearest k-means cells.

    There are about as many cells as the square root of the number of tracks. The number of probed
    cells is the smallest power of 2 that reaches `RECALL` against `ExactIndex`, on tracks sampled
    from the library.

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
        self._quantiser = faiss.IndexFlatIP(width)  # Faiss does not keep a reference to it
        self._index = faiss.IndexIVFFlat(
            self._quantiser, width, self._cells, faiss.METRIC_INNER_PRODUCT
        )
        self._index.cp.seed = _SEED
        self._index.cp.min_points_per_centroid = 1  # no warning about few points
        self._index.cp.max_points_per_centroid = _POINTS_A_CELL
        with self._one_thread():
            self._index.train(embeddings)
            self._index.add(embeddings)
            self.recall = self._choose(embeddings)

    @property
    def probed(self) -> int:
        """The number of cells that are searched."""
        return int(self._index.nprobe)

    def nearest(self, vector: NDArray[np.float32], n: int) -> Neighbours:
        """See `Index`; it may miss some, and find fewer than `n` where `n` is large."""
        with self._one_thread():
            cosines, rows = self._index.search(vector[None], min(n, self._index.ntotal))
        there = rows[0] >= 0
        return rows[0][there].astype(np.intp), cosines[0][there]

    def _choose(self, embeddings: NDArray[np.float32]) -> float:
        """Doubles the number of searched cells until the recall suffices; gives the recall."""
        rng = np.random.default_rng(_SEED)
        queries = np.sort(
            rng.choice(len(embeddings), min(_N_QUERIES, len(embeddings)), replace=False)
        )
        exact = ExactIndex(embeddings)
        n = _N_NEAREST + 1  # a track always finds itself, which does not count
        truth = [
            {*exact.nearest(embeddings[row], n)[0].tolist()} - {row} for row in queries.tolist()
        ]
        self._index.nprobe = 1
        while True:
            found = self._index.search(embeddings[queries], n)[1]
            hits = sum(len(t & set(f.tolist())) for t, f in zip(truth, found, strict=True))
            recall = hits / sum(map(len, truth))
            if recall >= RECALL or self.probed >= self._cells:
                return recall
            self._index.nprobe = min(2 * self.probed, self._cells)

    @contextmanager
    def _one_thread(self) -> Iterator[None]:
        """Faiss has its own OpenMP beside PyTorch's; its thread count is per calling thread."""
        before = self._faiss.omp_get_max_threads()
        self._faiss.omp_set_num_threads(1)
        try:
            yield
        finally:
            self._faiss.omp_set_num_threads(before)


def index_of(embeddings: NDArray[np.float32], *, exact_below: int = EXACT_BELOW) -> Index:
    """The index for so many embeddings; without Faiss always the exact one, which is slower."""
    if len(embeddings) < exact_below:
        return ExactIndex(embeddings)
    try:
        return InvertedFileIndex(embeddings)
    except ImportError:
        return ExactIndex(embeddings)
