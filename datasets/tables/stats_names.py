"""Column names of the two published feature tables (GTZAN's 57, FMA's 518), in their order.

The precomputed tables are read by these names, and the feature sets that compute the same numbers
from audio use this order, so that a model trained on one works on the other.
"""

from collections.abc import Iterable


def _mean_and_var(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{name}_{moment}" for name in names for moment in ("mean", "var"))


STATS57 = (
    *_mean_and_var(("chroma_stft", "rms", "spectral_centroid", "spectral_bandwidth", "rolloff")),
    *_mean_and_var(("zero_crossing_rate", "harmony", "perceptr")),
    "tempo",
    *_mean_and_var(f"mfcc{row}" for row in range(1, 21)),
)
"""GTZAN's feature table without `length`: mean and variance of librosa features of a track.

Source: A. Olteanu, "GTZAN Dataset - Music Genre Classification", 2020,
https://www.kaggle.com/datasets/andradaolteanu/gtzan-dataset-music-genre-classification
"""

_ROWS_OF_518 = {
    "chroma_cens": 12,
    "chroma_cqt": 12,
    "chroma_stft": 12,
    "mfcc": 20,
    "rmse": 1,
    "spectral_bandwidth": 1,
    "spectral_centroid": 1,
    "spectral_contrast": 7,
    "spectral_rolloff": 1,
    "tonnetz": 6,
    "zcr": 1,
}
_STATISTICS_OF_518 = ("kurtosis", "max", "mean", "median", "min", "skew", "std")

STATS518 = tuple(
    f"{feature}_{statistic}_{row:02d}"
    for feature, n_rows in _ROWS_OF_518.items()
    for statistic in _STATISTICS_OF_518
    for row in range(1, n_rows + 1)
)
"""FMA's feature table: FEATURE_STATISTIC_ROW, in lexicographic order.

Source: M. Defferrard, K. Benzi, P. Vandergheynst, X. Bresson, "FMA: A Dataset For Music Analysis",
2017, https://arxiv.org/abs/1612.01840
"""
