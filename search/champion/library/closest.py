"""The playlist without diversification: genres as in the history, of each the most similar."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chorale.search.champion.library.pool import CandidatePool
from chorale.search.champion.library.quotas import CountArray


@dataclass(frozen=True)
class Closest:
    """Positions in the pool, and the tracks that replace those missing in a genre.

    `filled` maps (wanted genre, genre taken instead) to a number of tracks.
    """

    chosen: NDArray[np.intp]
    filled: dict[tuple[int, int], int]


def closest(pool: CandidatePool, wanted: CountArray, *, cap: int) -> Closest:
    """The most similar tracks of each genre; an artist exceeds `cap` only where a genre needs it.

    Missing tracks of a genre are replaced by the tracks of other genres with the highest
    probability of that genre.

    Args:
        pool: the candidates.
        wanted: (n_genres,) number of tracks of each.
        cap: maximum number of tracks of one artist.
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
    pool: CandidatePool,
    places: NDArray[np.intp],
    n: int,
    cap: int,
    taken: NDArray[np.bool_],
    n_of: dict[int, int],
) -> int:
    """Takes up to `n` of the positions in their order; gives how many it took."""
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
