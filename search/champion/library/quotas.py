"""Apportionment (largest remainder): how many tracks of each genre a playlist has."""

import numpy as np
from numpy.typing import NDArray

CountArray = NDArray[np.intp]


def quotas(shares: NDArray[np.float64], n: int) -> CountArray:
    """Rounds shares of `n` to whole numbers that sum to `n`, each less than 1 from its exact value.

    The largest remainder method; of equal remainders the earlier genre's counts first.

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


def genre_entropy(shares: NDArray[np.float64]) -> float:
    """Shannon entropy of a distribution over genres, in nats: 0 for a single genre."""
    positive = shares[shares > 0]
    return float(-(positive * np.log(positive)).sum()) + 0.0
