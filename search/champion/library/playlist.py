"""A playlist from a library: like what was listened to, as wide as is asked for.

`chorale recommend` asks here.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chorale.search.champion.library.closest import closest
from chorale.search.champion.library.library import Library
from chorale.search.champion.library.order import spread_out
from chorale.search.champion.library.pool import Pool, pool_of
from chorale.search.champion.library.quotas import quotas
from chorale.search.champion.library.taste import Taste
from chorale.search.champion.library.track import Track
from chorale.search.champion.library.widening import widening

PER_ARTIST = 10
"""One track of an artist for every so many of the playlist, and at least one."""


@dataclass(frozen=True)
class Playlist:
    """Tracks in the order in which they are played.

    `likeness` (n_tracks,) is the cosine with the mean of what was heard of their genre. `wanted`
    and `given` (n_genres,) are the genres' shares in what was heard and here. `distance` is the
    mean of one minus the cosine over all pairs. `notes` say what could not be as it was asked for.
    """

    tracks: tuple[Track, ...]
    likeness: NDArray[np.float64]
    wanted: NDArray[np.float64]
    given: NDArray[np.float64]
    distance: float
    notes: tuple[str, ...]


def playlist(
    library: Library, taste: Taste, *, length: int, variety: float, seed: int | None = None
) -> Playlist:
    """Makes one; the same words give the same list.

    Args:
        library: heard by the bundle that heard `taste`.
        taste: what was listened to.
        length: how many tracks, where the library has them.
        variety: 0 gives the likest tracks with the genres as they were heard, 1 the widest list
            that the library has; diversity rises with it.
        seed: another one gives another list of the same kind; None leaves nothing to chance.
    """
    labels = library.manifest.labels
    wanted = taste.shares(len(labels))
    cap = max(1, -(-length // PER_ARTIST))
    pool = pool_of(library, taste, length=length, cap=cap, seed=seed)
    n = min(length, pool.n)
    start = closest(pool, quotas(wanted, n), cap=cap)
    chosen = start.chosen
    if variety > 0:
        chosen = widening(pool, chosen, cap=cap).at(variety)
    chosen = chosen[np.lexsort((chosen, -pool.order[chosen]))]
    chosen = chosen[spread_out(pool.artists[chosen].tolist())]
    counts = np.bincount(pool.genres[chosen], minlength=len(labels))
    notes = [] if n == length else [f"{length} tracks were asked for, the library has {n} to give"]
    for (genre, other), n_filled in start.filled.items():
        notes.append(
            f"the library lacks {n_filled} of {labels[genre]}; the nearest of {labels[other]} "
            f"stand in for them"
        )
    notes += _crowded(pool, chosen, cap=cap)
    return Playlist(
        tuple(library.content.tracks[row] for row in pool.rows[chosen]),
        pool.likeness[chosen],
        wanted,
        counts / max(1, n),
        _mean_distance(pool, chosen),
        tuple(notes),
    )


def _crowded(pool: Pool, chosen: NDArray[np.intp], *, cap: int) -> list[str]:
    most = int(np.bincount(pool.artists[chosen]).max()) if len(chosen) else 0
    if most <= cap:
        return []
    return [
        f"an artist has {most} tracks here instead of at most {cap}: of a genre the library has "
        f"too few other artists"
    ]


def _mean_distance(pool: Pool, chosen: NDArray[np.intp]) -> float:
    n = len(chosen)
    return (
        float(pool.distances(chosen)[chosen].sum(dtype=np.float64) / (n * (n - 1)))
        if n > 1
        else 0.0
    )
