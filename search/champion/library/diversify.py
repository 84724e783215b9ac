"""Playlist diversification: from the most similar to the most diverse list, by exchanging tracks.

Every exchange increases the mean distance of the tracks and never makes the genre counts less even,
so both measures of diversity rise along the path, whatever the library; `variety` is the position
on it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chorale.search.champion.library.pool import CandidatePool

MAX_EXCHANGES = 400

_MIN_COST = 0.01
"""Minimum cost of an exchange, in similarity."""
_MIN_GAIN = 0.002
"""Minimum gain of an exchange, as a share of the mean distance in the pool."""


@dataclass(frozen=True)
class DiversityPath:
    """Playlists, one exchange apart: positions in the pool, and each one's mean distance."""

    playlists: tuple[NDArray[np.intp], ...]
    distances: tuple[float, ...]

    def at(self, variety: float) -> NDArray[np.intp]:
        """The first playlist whose mean distance has risen by this share of the total rise."""
        first, last = self.distances[0], self.distances[-1]
        goal = first + variety * (last - first)
        reached = [step for step, distance in enumerate(self.distances) if distance >= goal - 1e-12]
        return self.playlists[reached[0]]


def diversify(pool: CandidatePool, start: NDArray[np.intp], *, cap: int) -> DiversityPath:
    """Greedy exchanges of one track at a time, each with the highest distance gained per cost.

    The cost is the similarity lost. A track of another genre may come in only where that genre has
    fewer tracks than the one that loses a track; an artist never exceeds `cap`, unless it did
    before.

    Args:
        pool: the candidates.
        start: positions in it, the most similar playlist.
        cap: maximum number of tracks of one artist.

    Source: the trade-off of relevance and novelty is maximal marginal relevance (Carbonell and
    Goldstein 1998, https://doi.org/10.1145/290941.291025); the sum of distances as its measure and
    the search by exchanges are from Gollapudi and Sharma 2009,
    https://doi.org/10.1145/1526709.1526761, and Ravi, Rosenkrantz and Tayi 1994.
    """
    chosen = start.copy()
    n = len(chosen)
    if n < 2:
        return DiversityPath((chosen,), (0.0,))
    n_pairs = n * (n - 1) / 2
    apart = pool.distances(chosen)  # (n_candidates, n)
    least = _MIN_GAIN * float(apart.mean()) * n_pairs
    order = pool.order.astype(np.float32)
    exchanges = _AllowedExchanges(pool, chosen, cap)
    playlists, distances = [chosen.copy()], [_sum(apart, chosen) / n_pairs]
    for _ in range(MAX_EXCHANGES):
        sums = apart.sum(axis=1)  # (n_candidates,)
        gains = sums[:, None] - apart
        gains -= sums[chosen]
        gains[~exchanges.mask()] = 0
        gain_per_cost = gains / np.maximum(order[chosen] - order[:, None], _MIN_COST)
        gain_per_cost[gains <= least] = 0
        new, position = np.unravel_index(int(gain_per_cost.argmax()), gain_per_cost.shape)
        if gain_per_cost[new, position] <= 0:
            break
        chosen[position] = new
        apart[:, position] = pool.distances(chosen[[position]])[:, 0]
        exchanges.update(int(position))
        playlists.append(chosen.copy())
        distances.append(_sum(apart, chosen) / n_pairs)
    return DiversityPath(tuple(playlists), tuple(distances))


def _sum(apart: NDArray[np.float32], chosen: NDArray[np.intp]) -> float:
    """The sum of distances over all pairs of chosen tracks."""
    return float(apart[chosen].sum(dtype=np.float64)) / 2


class _AllowedExchanges:
    """Which candidates may replace which chosen tracks; arrays are (n_candidates, n_chosen)."""

    def __init__(self, pool: CandidatePool, chosen: NDArray[np.intp], cap: int) -> None:
        """`chosen` is kept by reference: the caller changes it, then calls `update`."""
        self._pool, self._chosen, self._cap = pool, chosen, cap
        self._n_artists = int(pool.artists.max()) + 1
        self._genre = pool.genres[:, None] == pool.genres[chosen]
        self._artist = pool.artists[:, None] == pool.artists[chosen]

    def update(self, position: int) -> None:
        """Takes over the track that was exchanged at `position`."""
        one = self._chosen[position]
        self._genre[:, position] = self._pool.genres == self._pool.genres[one]
        self._artist[:, position] = self._pool.artists == self._pool.artists[one]

    def mask(self) -> NDArray[np.bool_]:
        """True where genre and artist allow it and the candidate is not chosen yet."""
        pool, chosen = self._pool, self._chosen
        n_of_genre = np.bincount(pool.genres[chosen], minlength=pool.n_genres)
        fewer = n_of_genre[pool.genres][:, None] < n_of_genre[pool.genres[chosen]]
        n_of_artist = np.bincount(pool.artists[chosen], minlength=self._n_artists)
        free = (n_of_artist[pool.artists] < self._cap)[:, None]
        allowed = (self._genre | fewer) & (self._artist | free)
        allowed[chosen] = False
        return np.asarray(allowed)
