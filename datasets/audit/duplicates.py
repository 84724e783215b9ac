"""Duplicate detection by audio fingerprints: re-encoded, renamed, cut or time-shifted copies.

Between the audit and the split. An index over sub-fingerprints proposes pairs by votes on the time
offset, so that the cost for N tracks is about N and not N^2; only proposed pairs are compared.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from chorale.datasets.audit.fingerprint import HOP_S, SILENT_BITS, Bits, cached_fingerprints
from chorale.datasets.chunks import ChunkMap
from chorale.datasets.errors import UserError

Int64Array = npt.NDArray[np.int64]

DUPLICATE_COLUMNS = ("track_id", "other_id", "kind", "overlap_s", "offset_s")
SAME_BYTES, SAME_RECORDING = "same bytes", "same recording"

MIN_OVERLAP_S = 2.0
"""Minimum shared duration of two duplicates, unless the tracks themselves are shorter."""
MAX_ERROR = 0.18
"""Maximum bit error rate of the best `MIN_OVERLAP_S` of two tracks with the same recording. In
1,000 synthetic tracks copies as MP3 of 40 kbit/s stay below 0.15, other tracks above 0.23."""
SAME_ERROR = 0.25
"""Likewise for the rest of the overlap, once a match has been found."""
MAX_ERROR_SHORT = 0.03
"""Likewise for shorter tracks, where one person speaking the same word twice comes near."""
MIN_SHORT = 12  # sub-fingerprints, 0.46 s of audio

NUMBER_BITS = 63
"""Usable bits of a non-negative int64."""

_WINDOW = round(MIN_OVERLAP_S / HOP_S)
_MAX_INDEXED = 2**23
_MIN_KEY_BITS, _SPARE_KEY_BITS = 24, 4
_NEIGHBOURS = 16  # entries of one bucket that each entry is paired with: linear cost
_MIN_VOTES = 2
_OFFSETS_PER_PAIR = 3
_TOLERANCE = 2  # maximum error of the offset, in sub-fingerprints


class _Match(NamedTuple):
    error: float
    n_same: int
    offset: int


def find_duplicates(tracks: pd.DataFrame, *, cache_root: Path, run: ChunkMap = map) -> pd.DataFrame:
    """All pairs of tracks with the same recording, or a chain of pairs for several copies.

    Not found are recordings whose pitch or tempo was changed, and excerpts under two seconds that
    were encoded with loss. Memory: four bytes per 23 ms of audio (0.6 GB for 1,000 h), and an index
    of at most 8 million entries; in larger corpora fewer frames of each track are indexed.

    Args:
        tracks: audited tracks, with the columns `path`, `content` and `duration_s`.
        cache_root: where fingerprints are cached between sweeps.
        run: maps work over chunks of files.

    Returns:
        The columns track_id, other_id (in the order of the table), kind ("same bytes" or
        "same recording"), overlap_s and offset_s: the audio at t s in the first track is at
        t + offset_s in the other.

    Source: Haitsma and Kalker 2002, "A Highly Robust Audio Fingerprinting System", ISMIR,
    https://ismir2002.ircam.fr/proceedings/02-FP04-2.pdf; votes on the offset after Wang 2003, "An
    Industrial-Strength Audio Search Algorithm", ISMIR,
    https://www.ee.columbia.edu/~dpwe/papers/Wang03-shazam.pdf.
    """
    rows = equal_content_pairs(tracks)
    once = tracks.drop_duplicates("content")
    prints = cached_fingerprints(once, cache_root=cache_root, run=run)
    ids = once["track_id"].tolist()
    for a, b, found in match_fingerprints(
        [prints.get(c, np.zeros(0, np.uint32)) for c in once["content"]]
    ):
        overlap_s, offset_s = round(found.n_same * HOP_S, 2), round(found.offset * HOP_S, 2)
        rows.append((ids[a], ids[b], SAME_RECORDING, overlap_s, offset_s))
    return pd.DataFrame(rows, columns=list(DUPLICATE_COLUMNS))


def equal_content_pairs(
    tracks: pd.DataFrame, *, kind: str = SAME_BYTES
) -> list[tuple[str, str, str, float, float]]:
    """The pairs of tracks with equal `content`, as rows of the result of `find_duplicates`."""
    rows = []
    for _, same in tracks.groupby("content", sort=False):
        ids, durations_s = same["track_id"].tolist(), same["duration_s"].tolist()
        rows += [(ids[0], other, kind, durations_s[0], 0.0) for other in ids[1:]]
    return rows


def match_fingerprints(prints: Sequence[Bits]) -> list[tuple[int, int, _Match]]:
    """The pairs (a, b), a < b, of fingerprints of the same recording, sorted."""
    found: dict[tuple[int, int], _Match] = {}
    for a, b, offset in _candidates(prints):
        match = _compare(prints[a], prints[b], offset)
        if match and ((a, b) not in found or match.n_same > found[a, b].n_same):
            found[a, b] = match
    return [(a, b, found[a, b]) for a, b in sorted(found)]


@dataclass(frozen=True)
class _Packing:
    """Packs a vote (track, other track, offset) into one int64: bits per track and per offset."""

    track_bits: int
    offset_bits: int

    @classmethod
    def of(cls, prints: Sequence[Bits]) -> "_Packing":
        """The packing for this number of tracks and offsets up to the longest track.

        Raises:
            UserError: an int64 has too few bits.
        """
        longest = max(map(len, prints), default=0)
        found = cls(len(prints).bit_length(), (longest + 2 * _TOLERANCE).bit_length() + 1)
        if 2 * found.track_bits + found.offset_bits > NUMBER_BITS:
            raise UserError(
                f"{len(prints):,} tracks of up to {longest * HOP_S / 3600:.1f} h are too many for "
                f"duplicate detection; cut the longest, or switch it off with "
                f"--audit.fingerprint false"
            )
        return found

    def pack(self, track: Int64Array, other: Int64Array, offset: Int64Array) -> Int64Array:
        """One number for each vote; the numbers sort by track, other track and offset."""
        pair = (track << self.track_bits) + other
        return np.asarray((pair << self.offset_bits) + offset + 2 ** (self.offset_bits - 1))

    def unpack(self, codes: Int64Array) -> tuple[Int64Array, Int64Array, Int64Array]:
        """Track, other track and offset of each number."""
        offset = (codes & (2**self.offset_bits - 1)) - 2 ** (self.offset_bits - 1)
        pair = codes >> self.offset_bits
        return pair >> self.track_bits, pair & (2**self.track_bits - 1), offset


def _candidates(prints: Sequence[Bits]) -> list[tuple[int, int, int]]:
    """(a, b, offset) where b[i + offset] often equals a[i]: the few best offsets of each pair."""
    packing = _Packing.of(prints)
    codes = _votes(*_index(prints), packing=packing)
    # two frames that vote for nearly the same offset are in the same bin of one of two grids
    width = 2 * _TOLERANCE
    binned = np.concatenate([codes // width, (codes + _TOLERANCE) // width])
    grid = np.repeat([0, _TOLERANCE], len(codes))
    order = np.lexsort((grid, binned))
    binned, grid = binned[order], grid[order]
    first = np.flatnonzero(np.r_[True, (np.diff(binned) != 0) | (np.diff(grid) != 0)])
    if not len(binned):
        return []
    n_votes = np.diff(np.r_[first, len(binned)])
    enough = n_votes >= _MIN_VOTES
    codes = binned[first[enough]] * width + _TOLERANCE - grid[first[enough]]
    n_votes = n_votes[enough]
    pair = codes >> packing.offset_bits
    order = np.lexsort((-n_votes, pair))
    pair, codes = pair[order], codes[order]
    rank = np.arange(len(pair)) - np.searchsorted(pair, pair)
    best = rank < _OFFSETS_PER_PAIR
    a, b, offset = packing.unpack(codes[best])
    return list(zip(a.tolist(), b.tolist(), offset.tolist(), strict=True))


def _index(prints: Sequence[Bits]) -> tuple[npt.NDArray[np.uint32], Int64Array, Int64Array]:
    """Keys, tracks and frames of the index, sorted by key and then by track.

    A key is the lower bits of a sub-fingerprint: fewer bits survive lossy encoding more often, but
    more keys are equal by chance in a large corpus.
    """
    n_all = sum(len(bits) for bits in prints)
    every = max(1, math.ceil(n_all / _MAX_INDEXED))
    n_bits = min(32, max(_MIN_KEY_BITS, math.ceil(math.log2(max(2, n_all))) + _SPARE_KEY_BITS))
    mask = np.uint32(2**n_bits - 1)
    parts = []
    for number, bits in enumerate(prints):
        keys = bits & mask
        # the selection depends on the value alone, so two copies keep the same ones
        drawn = (keys * np.uint32(2654435761)) >> np.uint32(12)
        at = np.flatnonzero((bits != SILENT_BITS) & (drawn % np.uint32(every) == 0))
        parts.append((keys[at], np.full(len(at), number, np.int64), at))
    if not parts:
        return np.zeros(0, np.uint32), np.zeros(0, np.int64), np.zeros(0, np.int64)
    keys, track, at = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.argsort(keys, kind="stable")  # keeps the order of the tracks within a key
    return keys[order], track[order], at[order]


def _votes(
    keys: npt.NDArray[np.uint32], track: Int64Array, at: Int64Array, *, packing: _Packing
) -> Int64Array:
    """One packed number for each vote: track, other track and offset."""
    codes = [np.zeros(0, np.int64)]
    for step in range(1, min(_NEIGHBOURS, len(keys) - 1) + 1):
        i = np.flatnonzero((keys[step:] == keys[:-step]) & (track[step:] != track[:-step]))
        codes.append(packing.pack(track[i], track[i + step], at[i + step] - at[i]))
    return np.concatenate(codes)


def _compare(a: Bits, b: Bits, offset: int) -> _Match | None:
    """The match of two fingerprints at the best of the offsets near `offset`."""
    near = range(offset - _TOLERANCE, offset + _TOLERANCE + 1)
    found = [match for o in near if (match := _at_offset(a, b, o))]
    return min(found, default=None)


def _at_offset(a: Bits, b: Bits, offset: int) -> _Match | None:
    start, stop = max(0, -offset), min(len(a), len(b) - offset)
    if stop <= start:
        return None
    mine, other = a[start:stop], b[start + offset : stop + offset]
    audible = (mine != SILENT_BITS) & (other != SILENT_BITS)
    wrong = np.bitwise_count(mine[audible] ^ other[audible]).astype(np.float64) / 32
    if len(wrong) >= _WINDOW:
        return _in_windows(wrong, offset)
    shorter = min(np.count_nonzero(a), np.count_nonzero(b))
    if len(wrong) >= max(MIN_SHORT, 0.9 * shorter) and wrong.mean() <= MAX_ERROR_SHORT:
        return _Match(float(wrong.mean()), len(wrong), offset)
    return None


def _in_windows(wrong: npt.NDArray[np.float64], offset: int) -> _Match | None:
    """Like `_at_offset`, from the bit error rate of each frame that both tracks have."""
    sums = np.cumsum(np.r_[0.0, wrong])
    error = (sums[_WINDOW:] - sums[:-_WINDOW]) / _WINDOW  # of each window
    if (best := float(error.min())) > MAX_ERROR:
        return None
    same = np.flatnonzero(error <= SAME_ERROR)
    n_open = np.zeros(len(wrong) + 1, np.int64)  # windows that begin, less those that end
    np.add.at(n_open, same, 1)
    np.add.at(n_open, same + _WINDOW, -1)
    return _Match(best, int(np.count_nonzero(np.cumsum(n_open))), offset)
