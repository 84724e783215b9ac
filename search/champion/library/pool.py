"""Candidate generation: the tracks of each genre that are most similar to a taste profile."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chorale.search.champion.library.library import Library
from chorale.search.champion.library.taste import Taste

PER_GENRE = 64
"""About so many of a genre's most similar tracks, and so many sampled from its others."""

_MAX_SCANNED = 4096
_NOISE = 0.1  # of the standard deviation of all similarities


@dataclass(frozen=True)
class CandidatePool:
    """Candidates, sorted by genre and then by descending `order`.

    `rows` are their rows in the library, `embeddings` (n_candidates, width) and `proba` theirs;
    `genres`, `artists` and `songs` are numbers as in the library. `similarity` is the cosine with
    the taste profile of their genre, `order` the same, with noise where a seed was given.
    """

    rows: NDArray[np.intp]
    embeddings: NDArray[np.float32]
    proba: NDArray[np.float32]
    genres: NDArray[np.intp]
    artists: NDArray[np.intp]
    songs: NDArray[np.intp]
    similarity: NDArray[np.float64]
    order: NDArray[np.float64]

    @property
    def n(self) -> int:
        """The number of candidates."""
        return len(self.rows)

    @property
    def n_genres(self) -> int:
        """The number of the bundle's genres."""
        return int(self.proba.shape[1])

    def distances(self, chosen: NDArray[np.intp]) -> NDArray[np.float32]:
        """(n_candidates, n_chosen) one minus the cosine; 0 of a track with itself."""
        apart = 1 - self.embeddings @ self.embeddings[chosen].T
        apart[chosen, np.arange(len(chosen))] = 0
        return np.asarray(np.maximum(apart, 0, out=apart))


def candidate_pool(
    library: Library, taste: Taste, *, length: int, cap: int, seed: int | None = None
) -> CandidatePool:
    """The candidates of `library` for `taste`: no track that was played, no song twice.

    Args:
        library: with at least one track.
        taste: embedded with the same bundle.
        length: of the playlist.
        cap: maximum number of one artist's tracks among the most similar of a large genre.
        seed: changes the order of tracks of about equal similarity; None adds no noise.
    """
    content = library.content
    n_genres = content.proba.shape[1]
    genres = library.genres
    similarity = _genre_similarity(content.embeddings, taste.profiles(n_genres), genres)
    order = similarity
    if seed is not None:
        noise = np.random.default_rng(seed).standard_normal(len(similarity))
        order = similarity + _NOISE * similarity.std() * noise
    played = [library.by_content[one] for one in taste.contents if one in library.by_content]
    songs, artists = library.songs, library.artists
    order = np.where(np.isin(songs, songs[played]), -np.inf, order)
    kept = [
        _most_similar(rows, order[rows], artists[rows], length=length, cap=cap)
        for rows in library.rows_of_genres
    ]
    chosen = np.concatenate(kept)
    chosen = chosen[_first_of_each(songs[chosen], order[chosen])]
    return CandidatePool(
        chosen,
        content.embeddings[chosen],
        content.proba[chosen],
        genres[chosen],
        artists[chosen],
        songs[chosen],
        similarity[chosen],
        order[chosen],
    )


def _genre_similarity(
    embeddings: NDArray[np.float32], profiles: NDArray[np.float32], genres: NDArray[np.intp]
) -> NDArray[np.float64]:
    cosines = embeddings @ profiles.T  # (n_tracks, n_genres)
    return np.take_along_axis(cosines, genres[:, None], axis=1)[:, 0].astype(np.float64)


def _first_of_each(songs: NDArray[np.intp], order: NDArray[np.float64]) -> NDArray[np.intp]:
    """Positions of the most similar track of each song, ascending."""
    ranked = np.argsort(-order, kind="stable")
    _, first = np.unique(songs[ranked], return_index=True)
    return np.sort(ranked[first])


def _most_similar(
    rows: NDArray[np.intp],
    order: NDArray[np.float64],
    artists: NDArray[np.intp],
    *,
    length: int,
    cap: int,
) -> NDArray[np.intp]:
    """The candidates of a genre, the most similar first.

    All of the first few, then tracks of artists below the cap, then an ever sparser sample.
    """
    places = np.argsort(-order)
    places = places[: int(np.isfinite(order).sum())]
    n = len(places)
    if n > 2 * PER_GENRE:
        places = places[_thin_out(artists[places], length=length, cap=cap)]
    return rows[places[np.lexsort((places, -order[places]))]]


def _thin_out(artists: NDArray[np.intp], *, length: int, cap: int) -> NDArray[np.intp]:
    """The positions of a long list that are kept, see `_most_similar`."""
    n = len(artists)
    most = max(PER_GENRE, 4 * length)
    spread: list[int] = []
    n_of: dict[int, int] = {}
    for place, artist in enumerate(artists[:_MAX_SCANNED].tolist()):
        if n_of.get(artist, 0) < cap:
            n_of[artist] = n_of.get(artist, 0) + 1
            spread.append(place)
            if len(spread) >= most:
                break
    far = np.geomspace(1, n, PER_GENRE).astype(np.intp) - 1
    return np.unique(np.concatenate([np.arange(min(n, 2 * length)), spread, far]).astype(np.intp))
