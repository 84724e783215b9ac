"""From the closest playlist to the widest, exchange by exchange: what the variety knob walks along.

Every exchange moves the tracks further apart and no genre count away from evenness, so that along
the path both measures of diversity rise, whatever the library; the knob only says how far to go.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chorale.search.champion.library.pool import Pool

MAX_STEPS = 400

_CHEAP = 0.01
"""Of likeness: what costs less counts as if it cost this."""
_LEAST_GAIN = 0.002
"""Of the mean distance in the pool: an exchange that brings less is not worth its place."""


@dataclass(frozen=True)
class Path:
    """Playlists, each one exchange from the last: places in the pool, and the mean distance."""

    playlists: tuple[NDArray[np.intp], ...]
    distances: tuple[float, ...]

    def at(self, variety: float) -> NDArray[np.intp]:
        """The first playlist that has covered this share of the way, counted in distance."""
        first, last = self.distances[0], self.distances[-1]
        goal = first + variety * (last - first)
        reached = [step for step, distance in enumerate(self.distances) if distance >= goal - 1e-12]
        return self.playlists[reached[0]]


def widening(pool: Pool, start: NDArray[np.intp], *, cap: int) -> Path:
    """Exchanges one track after the other, always the one that brings most distance for its cost.

    The cost is the likeness that is lost. A track of another genre may come only where that
    genre has fewer tracks than the one that gives; an artist never gets more than `cap`, unless
    it had them.

    Args:
        pool: the candidates.
        start: places in it, the closest playlist.
        cap: tracks of one artist.

    Source: the trade of relevance for novelty is maximal marginal relevance (Carbonell and
    Goldstein 1998, https://doi.org/10.1145/290941.291025); the sum of distances as its measure and
    exchanges as its search are those of Gollapudi and Sharma 2009,
    https://doi.org/10.1145/1526709.1526761, and Ravi, Rosenkrantz and Tayi 1994.
    """
    chosen = start.copy()
    n = len(chosen)
    if n < 2:
        return Path((chosen,), (0.0,))
    n_pairs = n * (n - 1) / 2
    apart = pool.distances(chosen)  # (n_candidates, n)
    least = _LEAST_GAIN * float(apart.mean()) * n_pairs
    order = pool.order.astype(np.float32)
    rivals = _Rivals(pool, chosen, cap)
    playlists, distances = [chosen.copy()], [_sum(apart, chosen) / n_pairs]
    for _ in range(MAX_STEPS):
        sums = apart.sum(axis=1)  # (n_candidates,)
        gains = sums[:, None] - apart
        gains -= sums[chosen]
        gains[~rivals.allowed()] = 0
        worth = gains / np.maximum(order[chosen] - order[:, None], _CHEAP)
        worth[gains <= least] = 0
        comes, goes = np.unravel_index(int(worth.argmax()), worth.shape)
        if worth[comes, goes] <= 0:
            break
        chosen[goes] = comes
        apart[:, goes] = pool.distances(chosen[[goes]])[:, 0]
        rivals.exchange(int(goes))
        playlists.append(chosen.copy())
        distances.append(_sum(apart, chosen) / n_pairs)
    return Path(tuple(playlists), tuple(distances))


def _sum(apart: NDArray[np.float32], chosen: NDArray[np.intp]) -> float:
    """Of the distances of all pairs that are chosen."""
    return float(apart[chosen].sum(dtype=np.float64)) / 2


class _Rivals:
    """Which candidates may come for which that are chosen; (n_candidates, n_chosen) each."""

    def __init__(self, pool: Pool, chosen: NDArray[np.intp], cap: int) -> None:
        """`chosen` is kept, and seen as it changes."""
        self._pool, self._chosen, self._cap = pool, chosen, cap
        self._n_artists = int(pool.artists.max()) + 1
        self._genre = pool.genres[:, None] == pool.genres[chosen]
        self._artist = pool.artists[:, None] == pool.artists[chosen]

    def exchange(self, place: int) -> None:
        """Another candidate is chosen at that place."""
        one = self._chosen[place]
        self._genre[:, place] = self._pool.genres == self._pool.genres[one]
        self._artist[:, place] = self._pool.artists == self._pool.artists[one]

    def allowed(self) -> NDArray[np.bool_]:
        """By genre, by artist, and because it is not chosen yet."""
        pool, chosen = self._pool, self._chosen
        n_of_genre = np.bincount(pool.genres[chosen], minlength=pool.n_genres)
        fewer = n_of_genre[pool.genres][:, None] < n_of_genre[pool.genres[chosen]]
        n_of_artist = np.bincount(pool.artists[chosen], minlength=self._n_artists)
        free = (n_of_artist[pool.artists] < self._cap)[:, None]
        allowed = (self._genre | fewer) & (self._artist | free)
        allowed[chosen] = False
        return np.asarray(allowed)
