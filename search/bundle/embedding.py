"""Track embeddings: one vector per recording, joined from the embeddings of all networks.

The predictor returns it with each prediction; the library compares it by cosine similarity.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

EMBEDDING_WIDTH = 256
"""The largest width; wider vectors are projected to it. 100,000 tracks are then 100 MB."""

_SEED = 0  # of the projection: the same in every process, or vectors cannot be compared


def joint_embedding(embeddings: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Concatenates embeddings: (n_tracks, width), each row of length 1.

    They are those of the frozen encoders that a bundle uses, or else of its networks. Each has its
    own embedding space and scale, so each one's vectors are L2-normalized before they are
    concatenated: the cosine of two joint vectors is then the mean of their cosines, with equal
    weights. Probabilities are left out, as they do not distinguish two tracks whose genre is clear.
    What is wider than `EMBEDDING_WIDTH` goes through a random projection, which preserves cosines
    within a few hundredths.

    Args:
        embeddings: of each network or encoder, (n_tracks, its width), in a fixed order.

    Source: Johnson and Lindenstrauss 1984, "Extensions of Lipschitz mappings into a Hilbert space".
    """
    joined = np.concatenate([l2_normalized(one.astype(np.float64)) for one in embeddings], axis=1)
    if joined.shape[1] > EMBEDDING_WIDTH:
        joined = joined @ _projection(joined.shape[1])
    return l2_normalized(joined).astype(np.float32)


def mean_frame(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of (n_frames, width): (width,)."""
    return np.asarray(frames.mean(axis=0, dtype=np.float64), np.float32)


def l2_normalized(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each row scaled to length 1; a row of zeros stays."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(length > 0, length, 1.0))


@lru_cache(maxsize=2)
def _projection(width: int) -> NDArray[np.float64]:
    # RandomState: numpy promises that its numbers never change, and a library is kept for years
    return np.asarray(np.random.RandomState(_SEED).standard_normal((width, EMBEDDING_WIDTH)))
