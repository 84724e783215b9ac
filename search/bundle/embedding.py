"""One vector a recording, from what all networks of an ensemble heard in it.

The predictor makes it beside its guess; the library and its recommendations compare it.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

WIDTH = 256
"""Longer ones are projected to so many numbers: 100,000 tracks are then 100 MB in all."""

_SEED = 0  # of the projection: the same in every process, or two vectors cannot be compared


def embedding(heard: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Joins what each network heard: (n_tracks, width), each row of length 1.

    Every network has a space of its own, with a scale of its own, so each one's vectors are given
    the same length before they are put side by side: the cosine of two joined vectors is then the
    mean of the networks' cosines, and no network is louder than another. Probabilities are left
    out, as they say nothing apart about two tracks of which the genre is sure. What is wider than
    `WIDTH` is projected at random, which keeps cosines within a few hundredths.

    Args:
        heard: the vectors of each network, (n_tracks, its width), in an order that stays.

    Source: Johnson and Lindenstrauss 1984, "Extensions of Lipschitz mappings into a Hilbert space".
    """
    joined = np.concatenate([unit(one.astype(np.float64)) for one in heard], axis=1)
    if joined.shape[1] > WIDTH:
        joined = joined @ _projection(joined.shape[1])
    return unit(joined).astype(np.float32)


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each row with length 1; a row of zeros stays."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(length > 0, length, 1.0))


@lru_cache(maxsize=2)
def _projection(width: int) -> NDArray[np.float64]:
    # RandomState: numpy promises that its numbers never change, and a library is kept for years
    return np.asarray(np.random.RandomState(_SEED).standard_normal((width, WIDTH)))
