"""The playlist without variety: the genres as they were heard, of each the likest tracks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chorale.search.champion.library.pool import Pool
from chorale.search.champion.library.quotas import Counts


@dataclass(frozen=True)
class Closest:
    """Places in the pool; and per genre how many were missing and what they were filled with.

    `filled` maps (the genre that was wanted, the genre that was taken) to a number of tracks.
    """

    chosen: NDArray[np.intp]
    filled: dict[tuple[int, int], int]


def closest(pool: Pool, wanted: Counts, *, cap: int) -> Closest:
    """The likest of each genre; an artist has more than `cap` only where a genre needs it.

    What a genre lacks is filled with the tracks of other genres that the bundle holds for it with
    the highest probability.

    Args:
        pool: the candidates.
        wanted: (n_genres,) how many of each.
        cap: tracks of one artist.
    """
    taken = np.zeros(pool.n, np.bool_)
    n_of: dict[int, int] = {}
    missing: dict[int, int] = {}
    for genre in np.flatnonzero(wanted).tolist():
        places = np.flatnonzero(pool.genres == genre)
        n_left = int(wanted[genre]) - _take(pool, places, int(wanted[genre]), cap, taken, n_of)
        if n_left:
            missing[genre] = n_left
    filled: dict[tuple[int, int], int] = {}
    for genre, n_left in missing.items():
        places = np.argsort(-pool.proba[:, genre], kind="stable")
        before = taken.copy()
        _take(pool, places, n_left, cap, taken, n_of)
        for other in pool.genres[taken & ~before].tolist():
            filled[genre, other] = filled.get((genre, other), 0) + 1
    return Closest(np.flatnonzero(taken), filled)


def _take(
    pool: Pool,
    places: NDArray[np.intp],
    n: int,
    cap: int,
    taken: NDArray[np.bool_],
    n_of: dict[int, int],
) -> int:
    """Takes up to `n` of the places in their order; gives how many there were."""
    free = [place for place in places.tolist() if not taken[place]]
    n_taken = 0
    while free and n_taken < n:
        later = []
        for place in free:
            artist = int(pool.artists[place])
            if n_taken == n or n_of.get(artist, 0) >= cap:
                later.append(place)
                continue
            taken[place] = True
            n_of[artist] = n_of.get(artist, 0) + 1
            n_taken += 1
        free, cap = later, cap + 1
    return n_taken
