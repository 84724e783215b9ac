"""Playlist recommendation from a library: tracks similar to a listening history, with diversity.

`chorale recommend` uses it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chorale.search.champion.library.closest import closest
from chorale.search.champion.library.diversify import diversify
from chorale.search.champion.library.library import Library
from chorale.search.champion.library.order import spread_out
from chorale.search.champion.library.pool import CandidatePool, candidate_pool
from chorale.search.champion.library.quotas import quotas
from chorale.search.champion.library.taste import Taste
from chorale.search.champion.library.track import LibraryTrack

PER_ARTIST = 10
"""A playlist has at most one track of an artist per so many tracks, rounded up."""


@dataclass(frozen=True)
class Playlist:
    """Tracks in the order in which they are played.

    `similarity` (n_tracks,) is the cosine with the mean embedding of the history's tracks of the
    same genre. `wanted` and `given` (n_genres,) are the genre shares of the history and of the
    playlist. `distance` is the mean of one minus the cosine over all pairs. `notes` name requests
    that could not be met.
    """

    tracks: tuple[LibraryTrack, ...]
    similarity: NDArray[np.float64]
    wanted: NDArray[np.float64]
    given: NDArray[np.float64]
    distance: float
    notes: tuple[str, ...]


def playlist(
    library: Library, taste: Taste, *, length: int, variety: float, seed: int | None = None
) -> Playlist:
    """Makes a playlist; it is deterministic for given arguments.

    Args:
        library: embedded with the bundle that embedded `taste`.
        taste: the listening history.
        length: number of tracks, where the library has as many.
        variety: 0 gives the most similar tracks with the genre shares of the history, 1 the most
            diverse playlist that the library allows; diversity rises with it.
        seed: adds noise to the ranking, so that each seed gives another playlist of the same kind;
            None adds none.
    """
    labels = library.manifest.labels
    wanted = taste.shares(len(labels))
    cap = max(1, -(-length // PER_ARTIST))
    pool = candidate_pool(library, taste, length=length, cap=cap, seed=seed)
    n = min(length, pool.n)
    start = closest(pool, quotas(wanted, n), cap=cap)
    chosen = start.chosen
    if variety > 0:
        chosen = diversify(pool, chosen, cap=cap).at(variety)
    chosen = chosen[np.lexsort((chosen, -pool.order[chosen]))]
    chosen = chosen[spread_out(pool.artists[chosen].tolist())]
    counts = np.bincount(pool.genres[chosen], minlength=len(labels))
    notes = []
    if n < length:
        notes.append(f"{length} tracks were requested, the library has {n} candidates")
    for (genre, other), n_filled in start.filled.items():
        notes.append(
            f"the library lacks {n_filled} tracks of {labels[genre]}; the most similar tracks of "
            f"{labels[other]} replace them"
        )
    notes += _crowded(pool, chosen, cap=cap)
    return Playlist(
        tuple(library.content.tracks[row] for row in pool.rows[chosen]),
        pool.similarity[chosen],
        wanted,
        counts / max(1, n),
        _mean_distance(pool, chosen),
        tuple(notes),
    )


def _crowded(pool: CandidatePool, chosen: NDArray[np.intp], *, cap: int) -> list[str]:
    most = int(np.bincount(pool.artists[chosen]).max()) if len(chosen) else 0
    if most <= cap:
        return []
    return [
        f"an artist has {most} tracks instead of at most {cap}: the library has too few other "
        f"artists in a genre"
    ]


def _mean_distance(pool: CandidatePool, chosen: NDArray[np.intp]) -> float:
    n = len(chosen)
    return (
        float(pool.distances(chosen)[chosen].sum(dtype=np.float64) / (n * (n - 1)))
        if n > 1
        else 0.0
    )
