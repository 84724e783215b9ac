"""Near duplicates by the embeddings of a pretrained encoder: pairs far closer than any other track.

`datasets.audit.duplicates` finds copies that share the exact course of a recording in time. Here a
pair is found that an encoder can hardly tell apart, after another encoding, with noise, at another
level, or cut. It may also be two takes of the same sound: a warning, and nothing is changed.

How close two recordings are says little by itself, as it differs between encoders and kinds of
sound. So each track's distance to its nearest neighbour is compared with that to the next one: for
different recordings, spread evenly around it in `m` dimensions, the ratio of the distances to the
`j`-th and to the next neighbour has the distribution function `x**(m * j)`, whatever the density.
The dimension is estimated from all tracks, and the ratios that are too small for it are near
duplicates, at a fixed false discovery rate.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

FALSE_DISCOVERY_RATE = 0.1
"""The expected share of different recordings among the reported tracks; where there are no near
duplicates, the probability that any are reported."""

MAX_COPIES = 4
"""The most copies of one recording, besides itself, that are recognised."""

MIN_TRACKS = 100
"""Among fewer tracks, none are looked for: the dimension is estimated too roughly. Of simulated
corpora without near duplicates, 17 % of those of 40 tracks had a false alarm, 6 % of those of 100.
"""

DIMENSION_QUANTILE = 0.75
"""Of the ratios of the second to the nearest distance, from which the dimension is estimated: high,
as the small ratios decide, and still below those of near duplicates. Where these are more than that
leaves room for, the estimate is too low, and fewer are reported."""

MAX_TRACKS = 30_000
"""Among more, none are looked for: their similarities take more than a minute."""

_KEY_FREQUENCIES = (1.0, 2**0.5, 3**0.5, 5**0.5)  # of the projections that tell frames apart
_KEY_DECIMALS = 3  # relative to their standard deviation
_BLOCK = 1_024  # tracks whose similarities to all others are in memory at once
_LEAST_DISTANCE = 1e-3  # of unit vectors in float32: closer ones are equal


class NearDuplicate(NamedTuple):
    """Two tracks, as rows, `first < second`, and the cosine similarity of their embeddings."""

    first: int
    second: int
    similarity: float


def track_vectors(
    frames: npt.NDArray[np.float32], offsets: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """The mean frame of each track, without frames that more tracks share than there are copies.

    These are of digital silence, as at the end of padded clips: with them, all tracks that are
    mostly silent would be near duplicates. A track without other frames keeps them.

    Args:
        frames: (total_frames, width), of all tracks.
        offsets: (n_tracks + 1,): track `i` has the frames `offsets[i]:offsets[i + 1]`.

    Returns:
        float32 (n_tracks, width).
    """
    n_tracks, width = len(offsets) - 1, frames.shape[1]
    track = np.repeat(np.arange(n_tracks), np.diff(offsets))
    waves = np.cos(np.outer(np.arange(1, width + 1), _KEY_FREQUENCIES)).astype(np.float32)
    projected = (frames @ waves).astype(np.float64)
    scale = np.maximum(projected.std(axis=0), 1e-12)
    keys = np.round(projected / scale, _KEY_DECIMALS)
    key = np.unique(keys, axis=0, return_inverse=True)[1].ravel()
    each = np.unique(np.stack([key, track]), axis=1)  # once for each track that has it
    is_common = (np.bincount(each[0], minlength=1) > MAX_COPIES + 1)[key]
    made = np.zeros((n_tracks, width), np.float32)
    for i, (start, stop) in enumerate(pairwise(offsets.tolist())):
        own = ~is_common[start:stop]
        mine = frames[start:stop]
        made[i] = (mine[own] if own.any() else mine).mean(axis=0, dtype=np.float64)
    return made


def near_duplicates_by_encoder(
    by_encoder: Mapping[str, npt.NDArray[np.float32]], groups: npt.NDArray[np.str_]
) -> dict[tuple[int, int], dict[str, float]]:
    """The near duplicates of each of several encoders: pair of rows -> encoder -> similarity.

    The false discovery rate is shared by the encoders. None are looked for among more than
    `MAX_TRACKS` tracks.

    Args:
        by_encoder: name -> (n_tracks, width), the mean embedding of each track.
        groups: (n_tracks,), the group of each.
    """
    found: dict[tuple[int, int], dict[str, float]] = {}
    if len(groups) > MAX_TRACKS:
        return found
    for name, vectors in by_encoder.items():
        rate = FALSE_DISCOVERY_RATE / len(by_encoder)
        for pair in find_near_duplicates(vectors, groups, false_discovery_rate=rate):
            found.setdefault((pair.first, pair.second), {})[name] = pair.similarity
    return dict(sorted(found.items(), key=lambda item: -max(item[1].values())))


def similarity_text(similarities: Mapping[str, float]) -> str:
    """How similar a pair is to each encoder that found it: "cosine similarity 0.974 by birdnet"."""
    each = (f"{value:.3f} by {name}" for name, value in similarities.items())
    return f"cosine similarity {', '.join(each)}"


def find_near_duplicates(
    vectors: npt.NDArray[np.float32],
    groups: npt.NDArray[np.str_],
    *,
    false_discovery_rate: float = FALSE_DISCOVERY_RATE,
) -> list[NearDuplicate]:
    """The pairs of tracks of two groups that are near duplicates, the most similar first.

    Each of the two must be among the other's nearest neighbours of other groups, and stand out
    from the further ones. Time grows with the square of the number of tracks: 10,000 take seconds.

    Args:
        vectors: (n_tracks, width), the mean embedding of each track.
        groups: (n_tracks,), the group of each: pairs within a group are left out.
        false_discovery_rate: of the tracks that are reported.

    Source: Facco et al. 2017, "Estimating the intrinsic dimension of datasets by a minimal
    neighborhood information", doi:10.1038/s41598-017-11873-y (the distribution of the ratios);
    Benjamini and Hochberg 1995, "Controlling the false discovery rate",
    doi:10.1111/j.2517-6161.1995.tb02031.x.
    """
    if len(vectors) < MIN_TRACKS:
        return []
    neighbours, distances = _nearest(_unit(vectors), groups)
    complete = np.isfinite(distances).all(axis=1)
    if complete.sum() < MIN_TRACKS:
        return []
    dimension = intrinsic_dimension(distances[complete])
    n_copies, p_values = _copies(distances, dimension)
    p_values[~complete] = 1.0
    found = p_values <= _threshold(p_values, false_discovery_rate)
    copies = {
        int(i): set(neighbours[i, : n_copies[i]].tolist()) for i in np.flatnonzero(found).tolist()
    }
    pairs = [
        NearDuplicate(i, j, 1 - float(distances[i, list(neighbours[i]).index(j)]) ** 2 / 2)
        for i, mine in copies.items()
        for j in mine
        if i < j and i in copies.get(j, ())
    ]
    return sorted(pairs, key=lambda pair: (-pair.similarity, pair.first, pair.second))


def intrinsic_dimension(distances: FloatArray) -> float:
    """The dimension of the embeddings, from the distances to the first two neighbours.

    Args:
        distances: (n_tracks, 2 or more), to the nearest neighbours, in ascending order.
    """
    ratios = np.log(distances[:, 1] / distances[:, 0])
    return float(
        -np.log(1 - DIMENSION_QUANTILE) / max(np.quantile(ratios, DIMENSION_QUANTILE), 1e-9)
    )


def _copies(distances: FloatArray, dimension: float) -> tuple[IntArray, FloatArray]:
    """Of each track the number of copies that is most surprising, and its p-value, (n_tracks,)."""
    ratios = distances[:, :-1] / distances[:, 1:]  # (n_tracks, MAX_COPIES)
    order = np.arange(1, ratios.shape[1] + 1)
    p_values = ratios ** (dimension * order)
    best = p_values.argmin(axis=1)
    lowest = p_values[np.arange(len(p_values)), best]
    return best + 1, np.minimum(1.0, len(order) * lowest)  # of several numbers, by Bonferroni


def _threshold(p_values: FloatArray, rate: float) -> float:
    """The largest p-value that counts, by Benjamini and Hochberg; -1 where none does."""
    ranked = np.sort(p_values)
    below = np.flatnonzero(ranked <= rate * np.arange(1, len(ranked) + 1) / len(ranked))
    return float(ranked[below[-1]]) if len(below) else -1.0


def _nearest(
    vectors: npt.NDArray[np.float32], groups: npt.NDArray[np.str_]
) -> tuple[IntArray, FloatArray]:
    """The nearest tracks of other groups, and their distances: (n_tracks, MAX_COPIES + 1).

    A distance is infinite where there are too few tracks of other groups.
    """
    parts = list(_nearest_blocks(vectors, np.unique(groups, return_inverse=True)[1]))
    rows, similarities = (np.concatenate(part) for part in zip(*parts, strict=True))
    distances = np.sqrt(np.maximum(2 - 2 * similarities.astype(np.float64), 0.0))
    return rows, np.maximum(distances, _LEAST_DISTANCE)


def _nearest_blocks(
    vectors: npt.NDArray[np.float32], group: IntArray
) -> Iterator[tuple[IntArray, npt.NDArray[np.float32]]]:
    n_kept = MAX_COPIES + 1
    for start in range(0, len(vectors), _BLOCK):
        part = slice(start, start + _BLOCK)
        similarities = vectors[part] @ vectors.T
        similarities[group[part, None] == group] = -np.inf
        rows = np.argpartition(-similarities, n_kept, axis=1)[:, :n_kept]
        values = np.take_along_axis(similarities, rows, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        yield np.take_along_axis(rows, order, axis=1), np.take_along_axis(values, order, axis=1)


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1.0), np.float32)
