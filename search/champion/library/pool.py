"""The tracks that a playlist is chosen from: of each genre the likest, and fewer the less like."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chorale.search.champion.library.library import Library
from chorale.search.champion.library.taste import Taste

PER_GENRE = 64
"""So many of the likest of a genre, and about as many of the rest of it."""

_SCANNED = 4096
_JITTER = 0.1  # of the standard deviation of all likenesses


@dataclass(frozen=True)
class Pool:
    """Candidates, sorted by genre and then by likeness, the likest first.

    `rows` are the library's, `embeddings` (n_candidates, width) and `proba` theirs, `genres`,
    `artists` and `songs` whole numbers that stand for what they are. `likeness` is the cosine with
    what was heard of their genre, `order` the same with chance in it, where that was asked for.
    """

    rows: NDArray[np.intp]
    embeddings: NDArray[np.float32]
    proba: NDArray[np.float32]
    genres: NDArray[np.intp]
    artists: NDArray[np.intp]
    songs: NDArray[np.intp]
    likeness: NDArray[np.float64]
    order: NDArray[np.float64]

    @property
    def n(self) -> int:
        """How many candidates."""
        return len(self.rows)

    @property
    def n_genres(self) -> int:
        """How many genres the bundle knows."""
        return int(self.proba.shape[1])

    def distances(self, chosen: NDArray[np.intp]) -> NDArray[np.float32]:
        """(n_candidates, n_chosen) one minus the cosine; 0 of a track with itself."""
        apart = 1 - self.embeddings @ self.embeddings[chosen].T
        apart[chosen, np.arange(len(chosen))] = 0
        return np.asarray(np.maximum(apart, 0, out=apart))


def pool_of(
    library: Library, taste: Taste, *, length: int, cap: int, seed: int | None = None
) -> Pool:
    """What of `library` may follow `taste`: nothing that was heard, no song twice.

    Args:
        library: at least one track.
        taste: heard by the same bundle.
        length: how long the playlist will be.
        cap: among the likest of a genre no artist has more tracks than this.
        seed: another one changes the order of what is about equally like; None changes nothing.
    """
    content = library.content
    n_genres = content.proba.shape[1]
    genres = library.genres
    likeness = _likeness(content.embeddings, taste.profiles(n_genres), genres)
    order = likeness
    if seed is not None:
        noise = np.random.default_rng(seed).standard_normal(len(likeness))
        order = likeness + _JITTER * likeness.std() * noise
    heard = [library.by_content[one] for one in taste.contents if one in library.by_content]
    songs, artists = library.songs, library.artists
    order = np.where(np.isin(songs, songs[heard]), -np.inf, order)
    kept = [
        _likest(rows, order[rows], artists[rows], length=length, cap=cap)
        for rows in library.rows_of_genres
    ]
    chosen = np.concatenate(kept)
    chosen = chosen[_first_of_each(songs[chosen], order[chosen])]
    return Pool(
        chosen,
        content.embeddings[chosen],
        content.proba[chosen],
        genres[chosen],
        artists[chosen],
        songs[chosen],
        likeness[chosen],
        order[chosen],
    )


def _likeness(
    embeddings: NDArray[np.float32], profiles: NDArray[np.float32], genres: NDArray[np.intp]
) -> NDArray[np.float64]:
    cosines = embeddings @ profiles.T  # (n_tracks, n_genres)
    return np.take_along_axis(cosines, genres[:, None], axis=1)[:, 0].astype(np.float64)


def _first_of_each(songs: NDArray[np.intp], order: NDArray[np.float64]) -> NDArray[np.intp]:
    """Where the likest track of each song stands, in the order of the array."""
    likest = np.argsort(-order, kind="stable")
    _, first = np.unique(songs[likest], return_index=True)
    return np.sort(likest[first])


def _likest(
    rows: NDArray[np.intp],
    order: NDArray[np.float64],
    artists: NDArray[np.intp],
    *,
    length: int,
    cap: int,
) -> NDArray[np.intp]:
    """Of a genre's tracks, the likest first: those that are kept.

    All of the first few, then those of artists that have few yet, then ever fewer.
    """
    places = np.argsort(-order)
    places = places[: int(np.isfinite(order).sum())]
    n = len(places)
    if n > 2 * PER_GENRE:
        places = places[_thinned(artists[places], length=length, cap=cap)]
    return rows[places[np.lexsort((places, -order[places]))]]


def _thinned(artists: NDArray[np.intp], *, length: int, cap: int) -> NDArray[np.intp]:
    """Which places of a long list are kept, see `_likest`."""
    n = len(artists)
    most = max(PER_GENRE, 4 * length)
    spread: list[int] = []
    n_of: dict[int, int] = {}
    for place, artist in enumerate(artists[:_SCANNED].tolist()):
        if n_of.get(artist, 0) < cap:
            n_of[artist] = n_of.get(artist, 0) + 1
            spread.append(place)
            if len(spread) >= most:
                break
    far = np.geomspace(1, n, PER_GENRE).astype(np.intp) - 1
    return np.unique(np.concatenate([np.arange(min(n, 2 * length)), spread, far]).astype(np.intp))
