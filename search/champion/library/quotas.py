"""How many tracks of each genre make a playlist."""

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.intp]


def quotas(shares: NDArray[np.float64], n: int) -> Counts:
    """Shares as whole numbers that sum to `n`, each less than one from its share of `n`.

    The method of the largest remainder; of equal ones the earlier genre's.

    Args:
        shares: (n_genres,), they sum to 1.
        n: the playlist's length.

    Source: Hare 1859, "A treatise on the election of representatives".
    """
    exact = shares * n
    counts = np.floor(exact + 1e-9).astype(np.intp)
    remainders = exact - counts
    for genre in np.argsort(-remainders.round(9), kind="stable")[: n - int(counts.sum())]:
        counts[genre] += 1
    return counts


def points_apart(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """The largest difference of two distributions over genres, in percentage points."""
    return float(100 * np.abs(first - second).max())


def entropy(shares: NDArray[np.float64]) -> float:
    """How evenly a distribution is spread, in nats: 0 for one genre alone."""
    there = shares[shares > 0]
    return float(-(there * np.log(there)).sum()) + 0.0
