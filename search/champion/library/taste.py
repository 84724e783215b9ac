"""Taste profile of a listener: genre shares, and the mean embedding of each genre.

Playlists are made from it; `search.champion.library.taste_from_history` builds it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chorale.search.bundle.embedding import l2_normalized


@dataclass(frozen=True)
class Taste:
    """The tracks of a listening history, at least one.

    `embeddings` (n_played, width), each row of length 1; `genres` (n_played,) are indices of the
    bundle's labels; `weights` (n_played,) are above 0. `contents` are the hashes of the tracks'
    files: none of them is recommended.
    """

    embeddings: NDArray[np.float32]
    genres: NDArray[np.intp]
    weights: NDArray[np.float64]
    contents: frozenset[str]

    def shares(self, n_genres: int) -> NDArray[np.float64]:
        """(n_genres,) each genre's share of all plays; they sum to 1."""
        plays = np.bincount(self.genres, self.weights, minlength=n_genres)
        return np.asarray(plays / plays.sum())

    def profiles(self, n_genres: int) -> NDArray[np.float32]:
        """(n_genres, width) each genre's weighted mean embedding, scaled to length 1.

        The cosine with it is proportional to the mean cosine with the genre's played tracks. A
        genre without plays has the mean of all tracks.
        """
        weighted = self.embeddings * (self.weights / self.weights.sum())[:, None]
        sums = np.tile(weighted.sum(axis=0), (n_genres, 1))
        for genre in np.unique(self.genres):
            sums[genre] = weighted[self.genres == genre].sum(axis=0)
        return l2_normalized(sums.astype(np.float64)).astype(np.float32)
