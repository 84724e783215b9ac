"""What somebody listened to: the genres' shares, and how each genre of theirs sounds.

Playlists are made of it; `search.champion.library.history` reads it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chorale.search.bundle.embedding import unit


@dataclass(frozen=True)
class Taste:
    """The tracks that were listened to, at least one.

    `embeddings` (n_heard, width), each row of length 1; `genres` (n_heard,) are columns of the
    bundle's labels; `weights` (n_heard,) say how much each counts, above 0. `contents` are the
    hashes of their files: none of them is recommended.
    """

    embeddings: NDArray[np.float32]
    genres: NDArray[np.intp]
    weights: NDArray[np.float64]
    contents: frozenset[str]

    def shares(self, n_genres: int) -> NDArray[np.float64]:
        """(n_genres,) how much of all plays was of each genre; they sum to 1."""
        plays = np.bincount(self.genres, self.weights, minlength=n_genres)
        return np.asarray(plays / plays.sum())

    def profiles(self, n_genres: int) -> NDArray[np.float32]:
        """(n_genres, width) the direction of each genre's weighted mean, of length 1.

        The cosine with it goes as the mean cosine with all that was heard of the genre. A genre of
        which nothing was heard has the direction of all together.
        """
        weighted = self.embeddings * (self.weights / self.weights.sum())[:, None]
        sums = np.tile(weighted.sum(axis=0), (n_genres, 1))
        for genre in np.unique(self.genres):
            sums[genre] = weighted[self.genres == genre].sum(axis=0)
        return unit(sums.astype(np.float64)).astype(np.float32)
