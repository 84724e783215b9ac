"""From the closest playlist to the widest, exchange by exchange: what the variety knob walks along.

Every exchange moves the tracks further apart and no genre count away from evenness, so that along
the path both measures of diversity rise, whatever the library; the knob only says how far to go.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from search.champion.library.pool import Pool

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
    playlists, distances = [chosen.copy()], [float(apart[chosen].sum()) / 2 / n_pairs]
    for _ in range(MAX_STEPS):
        sums = apart.sum(axis=1)  # (n_candidates,)
        gains = sums[:, None] - apart - sums[chosen][None, :]
        gains[~_allowed(pool, chosen, cap)] = -np.inf
        costs = pool.order[chosen][None, :] - pool.order[:, None]
        worth = np.where(gains > least, gains / np.maximum(costs, _CHEAP), -np.inf)
        comes, goes = np.unravel_index(int(worth.argmax()), worth.shape)
        if not np.isfinite(worth[comes, goes]):
            break
        chosen[goes] = comes
        apart[:, goes] = pool.distances(chosen[[goes]])[:, 0]
        playlists.append(chosen.copy())
        distances.append(float(apart[chosen].sum()) / 2 / n_pairs)
    return Path(tuple(playlists), tuple(distances))


def _allowed(pool: Pool, chosen: NDArray[np.intp], cap: int) -> NDArray[np.bool_]:
    """(n_candidates, n_chosen) whether a candidate may come for one that goes."""
    n_of_genre = np.bincount(pool.genres[chosen], minlength=pool.n_genres)
    here, there = pool.genres[:, None], pool.genres[chosen][None, :]
    genre = (here == there) | (n_of_genre[here] < n_of_genre[there])
    n_of_artist = np.bincount(pool.artists[chosen], minlength=int(pool.artists.max()) + 1)
    same = pool.artists[:, None] == pool.artists[chosen][None, :]
    artist = (n_of_artist[pool.artists] < cap)[:, None] | same
    allowed = genre & artist
    allowed[chosen] = False
    return np.asarray(allowed)
